import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Small models with random weights by real exporters, one for each family of transformers and exporter: scripts/fixtures/export_families.py. */
export const familyFolder = join('test', 'fixtures', 'families');
export const familyPath = (name: string): string => join(familyFolder, `${name}.onnx`);

/** What a model holds by the count of torch's modules: linears as PyTorch has them; some exporters pack or join them. */
export interface Held {
  readonly linears: number;
  readonly norms: number;
  readonly attentions: number;
  readonly caches: number;
}

const held = JSON.parse(readFileSync(join(familyFolder, 'families.json'), 'utf8')) as Readonly<Record<string, Held>>;
export const heldBy = (name: string): Held => held[name]!;

/** The names of all. */
export const families: readonly string[] = Object.keys(held);

/** What ONNX Runtime does not run as it is: an operator that only its GPU has, shapes that it refuses. */
export const unrunnable = /^(mamba|mixtral|phi2-genai|t5-ortopt)/;

/** Those that ONNX Runtime's optimizers or the builder of onnxruntime-genai wrote, with operators that only ONNX Runtime has. */
export const fusedFamilies: readonly string[] = families.filter(
  (name) => /-(ortext|ortopt|genai|genai4)$/.test(name) && !unrunnable.test(name),
);
