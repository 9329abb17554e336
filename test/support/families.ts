import { existsSync, readdirSync } from 'node:fs';
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

/** A description, which says so where the models are absent and its tests are skipped. */
export const describeFamilies = (name: string, tests: () => void): void =>
  there ? describe(name, tests) : describe.skip(`${name} (skipped: there is no ${familyFolder})`, tests);
