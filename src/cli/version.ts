import { existsSync, readFileSync } from 'node:fs';

/** The version in the package.json above this file. */
export function version(): string {
  let url = new URL('package.json', import.meta.url);
  for (let height = 0; height < 6 && !existsSync(url); height++) url = new URL('../package.json', url);
  const found: unknown = existsSync(url) ? JSON.parse(readFileSync(url, 'utf8')) : null;
  return typeof found === 'object' && found !== null && 'version' in found ? String(found.version) : 'unknown';
}
