import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The root of the repository, where tests run. */
export const root = process.cwd();

/** A model of the fixtures. */
export const fixture = (name: string): string => join(root, 'test/fixtures/exported', `${name}.onnx`);

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** Called with each piece of stderr, and with a way to send signals. */
  readonly onTalk?: (text: string, kill: (signal: NodeJS.Signals) => void) => void;
}

/** Runs the binary. */
export function qc(args: readonly string[], { env = {}, onTalk }: RunOptions = {}): Promise<Outcome> {
  const environment = { ...process.env, NO_COLOR: '1', TMPDIR: temporary, ...env };
  const child = spawn(process.execPath, [binary(), ...args], { env: environment, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    onTalk?.(stderr, (signal) => child.kill(signal));
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

/** Temporary files of the runs of one test file; `leftOver` must be empty after every one of them. */
const temporary = mkdtempSync(join(tmpdir(), 'qc-cli-test-'));
export const leftOver = (): readonly string[] => readdirSync(temporary);
export const removeTemporary = (): void => rmSync(temporary, { recursive: true, force: true });

// Once for a test file, although the sources may change while it runs.
let folder: string | null = null;

/** What `npm run build` makes of the sources. */
export const built = (): string => (folder ??= build());
const binary = (): string => join(built(), 'src/cli/main.js');

/** The library as plugins import it. */
export const libraryUrl = (): string => `file://${join(built(), 'src/index.js')}`;

const sources = ['src', 'ir', 'passes', 'codegen'];

/** Builds into a folder named after the sources' state, unless it is there; another test file may build at the same time. */
function build(): string {
  const cache = join(root, 'out/test-cli');
  const target = join(cache, stateOfSources());
  if (existsSync(target)) return target;
  removeOld(cache);
  const own = `${target}.${process.pid}`;
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', own, '--declaration', 'false'], {
    cwd: root,
    stdio: 'pipe',
  });
  try {
    renameSync(own, target);
  } catch {
    rmSync(own, { recursive: true, force: true });
  }
  return target;
}

/** Builds that no running test can be using any more. */
function removeOld(cache: string): void {
  for (const name of existsSync(cache) ? readdirSync(cache) : []) {
    const path = join(cache, name);
    if (Date.now() - statSync(path).mtimeMs > 600_000) rmSync(path, { recursive: true, force: true });
  }
}

function stateOfSources(): string {
  const hash = createHash('sha256');
  for (const folder of sources)
    for (const file of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).sort()) {
      const { size, mtimeMs } = statSync(join(root, folder, file));
      hash.update(`${folder}/${file} ${size} ${mtimeMs}\n`);
    }
  return hash.digest('hex').slice(0, 16);
}
