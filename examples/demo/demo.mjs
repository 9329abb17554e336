/** Compiles a small trained OPT in several ways and measures each on held-out text: npm run demo */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compile, evaluate } from '@onnx-qc/qc';

/** @param {string} name */
const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const [model, tokenizer] = [here('model.onnx'), here('tokenizer.json')];
const text = (/** @type {string} */ file, /** @type {number} */ samples) => ({ files: [here(file)], tokenizer, seq: 128, samples });

/** @type {readonly (readonly [passes: string, scheme: string, target: string])[]} */
const ways = [
  ['none', 'w8a6', 'portable'],
  ['os+', 'w8a6', 'portable'],
  ['rptq', 'w8a6', 'portable'],
  ['rptq,os+', 'w8a6', 'portable'],
  ['os+', 'w8a8', 'ort-cpu'],
  ['os+', 'w4a8', 'ort-cpu'],
  ['rptq,os+', 'w8a8', 'qc-cpu'],
];

const folder = mkdtempSync(join(tmpdir(), 'qc-demo-'));
try {
  const float = await evaluate({ model, data: text('heldout.txt', 100) });
  console.log(`a trained OPT with 4 layers; perplexity in float32: ${float.perplexity?.toFixed(2)}\n`);
  console.log('passes     scheme  target    perplexity  size   Gathers/Muls/Adds left  largest change by exact passes');
  for (const [passes, scheme, target] of ways) {
    const output = join(folder, 'model.onnx');
    const report = await compile({ model, output, passes, scheme, target, data: text('calibration.txt', 16) });
    const { perplexity = NaN } = await evaluate({ model: output, data: text('heldout.txt', 100) });
    const { gathers, muls, adds } = report.left;
    const size = `${Math.round((100 * report.bytesAfter) / report.bytesBefore)} %`;
    const cells = [passes.padEnd(9), scheme.padEnd(6), target.padEnd(8), perplexity.toFixed(2).padStart(10), size.padStart(5)];
    console.log(`${cells.join('  ')}  ${`${gathers}/${muls}/${adds}`.padEnd(22)}  ${report.exactDifference?.toExponential(1)}`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
