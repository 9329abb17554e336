import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe } from '@jest/globals';

/** Small models with random weights by real exporters, one for each family of transformers and exporter; kept beside the repository. */
export const familyFolder = join('..', 'shared', 'families', 'fixtures');
export const familyPath = (name: string): string => join(familyFolder, `${name}.onnx`);

const there = existsSync(familyFolder);
/** A description, which says so where the models are absent and its tests are skipped. */
export const describeFamilies = (name: string, tests: () => void): void =>
  there ? describe(name, tests) : describe.skip(`${name} (skipped: there is no ${familyFolder})`, tests);
