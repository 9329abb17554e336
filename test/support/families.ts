import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from '@jest/globals';

/** Small models with random weights by real exporters, one for each family of transformers and exporter; kept beside the repository. */
export const familyFolder = join('..', 'shared', 'families', 'fixtures');
export const familyPath = (name: string): string => join(familyFolder, `${name}.onnx`);

const there = existsSync(familyFolder);
/** Those that ONNX Runtime's optimizers or the builder of onnxruntime-genai wrote, with operators that only ONNX Runtime has. */
export const fusedFamilies: readonly string[] = (there ? readdirSync(familyFolder) : [])
  .flatMap((file) => /^(.*-(?:ortext|ortopt|genai|genai4))\.onnx$/.exec(file)?.[1] ?? [])
  .toSorted();

/** What a model holds by its author's count. Linears as the exporter of PyTorch leaves them; others pack or join some. */
export const heldBy = (name: string): { readonly attentions: number; readonly norm: number; readonly linear: number } =>
  JSON.parse(readFileSync(join(familyFolder, `${name}.json`), 'utf8')) as ReturnType<typeof heldBy>;

/** A description, which says so where the models are absent and its tests are skipped. */
export const describeFamilies = (name: string, tests: () => void): void =>
  there ? describe(name, tests) : describe.skip(`${name} (skipped: there is no ${familyFolder})`, tests);
