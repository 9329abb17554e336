import { accessSync, constants, existsSync, realpathSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { checkReplaceable, readModel } from '../../../codegen/index.ts';
import { fail } from '../../../ir/index.ts';

/** `model.onnx` becomes `model.qc.onnx`. */
export const defaultOutput = (model: string): string => `${model.replace(/\.onnx$/, '')}.qc.onnx`;

/** Throws, before any work, for outputs that cannot be written (QC4201) or that would overwrite the model or its weights (QC2007). */
export function checkOutput(model: string, outputs: readonly (string | undefined)[]): void {
  const inputs = filesOf(model);
  for (const output of outputs) {
    if (output === undefined) continue;
    for (const written of filesAt(output)) if (inputs.has(real(written))) refuse(written);
    checkPlace(output);
  }
}

/** Throws QC4201 for an output that cannot be written, whatever comes out. */
export function checkPlace(output: string): void {
  checkFolder(output);
  filesAt(output).forEach(checkReplaceable);
}

/** Where a model and its weights go. */
const filesAt = (output: string): readonly string[] => [output, `${output}.data`];

const refuse = (written: string): never =>
  fail('QC2007', `${written} would overwrite the input or its weights`, undefined, { hint: 'give another file with -o' });

function checkFolder(output: string): void {
  const folder = dirname(resolve(output));
  try {
    accessSync(folder, constants.W_OK);
  } catch {
    fail('QC4201', `cannot write ${output}: ${existsSync(folder) ? 'the folder cannot be written to' : 'there is no such folder'}`);
  }
}

/** The model and its side files; reads no weights. */
function filesOf(model: string): ReadonlySet<string> {
  const sides = [...readModel(model).constants].flatMap(({ constant }) => (constant?.origin.kind === 'file' ? [constant.origin.path] : []));
  return new Set([model, ...sides].map(real));
}

const real = (path: string): string => (existsSync(path) ? realpathSync(path) : resolve(path));
