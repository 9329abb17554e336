import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The folder of the package: the nearest above this file, in sources or in a build, that has a package.json. */
export function packageRoot(): string {
  let url = new URL('./', import.meta.url);
  while (!existsSync(new URL('package.json', url)) && url.pathname !== '/') url = new URL('../', url);
  return fileURLToPath(url);
}
