import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { fail } from '../ir/index.ts';
import type { Pass } from '../passes/index.ts';

/** The passes that modules export by default, one each or a list. QC2109: a file is not there; QC2004: an export is no pass. */
export async function loadPlugins(files: readonly string[]): Promise<readonly Pass[]> {
  const loaded = await Promise.all(files.map(passesIn));
  return loaded.flat();
}

async function passesIn(file: string): Promise<readonly Pass[]> {
  const path = resolve(file);
  if (!existsSync(path)) fail('QC2109', `no plugin at ${file}`);
  const module = await imported(path, file);
  const exported = typeof module === 'object' && module !== null && 'default' in module ? module.default : undefined;
  const list: readonly unknown[] = Array.isArray(exported) ? exported : [exported];
  return list.map((candidate) => {
    const lacks = whatIsMissing(candidate);
    return isPass(candidate)
      ? candidate
      : fail('QC2004', `the default export of ${file} is no pass: ${lacks}`, undefined, { hint: example });
  });
}

const example = "export default definePass({ name, summary, contract, run }), with definePass from '@onnx-qc/qc'";

async function imported(path: string, file: string): Promise<unknown> {
  try {
    return await import(pathToFileURL(path).href);
  } catch (error) {
    return fail('QC2109', `the plugin ${file} cannot be loaded: ${error instanceof Error ? error.message : String(error)}`);
  }
}

const isPass = (x: unknown): x is Pass => whatIsMissing(x) === null;

/** The first thing that keeps `x` from being a pass; null if nothing does. */
function whatIsMissing(x: unknown): string | null {
  if (typeof x !== 'object' || x === null) return `it is ${x === undefined ? 'missing' : typeof x}`;
  const has = new Map<string, unknown>(Object.entries(x));
  if (!/^[a-z][a-z0-9+.-]*$/.test(String(has.get('name') ?? ''))) return 'its name is not of the form my-pass';
  if (typeof has.get('run') !== 'function') return 'it has no run function';
  if (has.get('contract') !== 'exact' && has.get('contract') !== 'approximate') return "its contract is neither 'exact' nor 'approximate'";
  const complete =
    ['needs', 'gives', 'breaks', 'defaultFor', 'observes', 'traits'].every((key) => Array.isArray(has.get(key))) &&
    typeof has.get('options') === 'object';
  return complete ? null : 'it was not made by definePass';
}
