/**
 * How long gptq takes for one weight: npm run build && node bench/gptq.mjs [--rows 4096,11008] [--columns 4096] [--bits 4]
 * The Hessian is that of channels whose neighbours go together. Seconds by the clock, and of the processor without those of ONNX Runtime, which has a process of its own.
 */
import { parseArgs } from 'node:util';
import { codeRange } from '../dist/ir/index.js';
import { hessianOf } from '../dist/passes/methods/gptq/hessian.js';
import { openProducts } from '../dist/passes/methods/gptq/products.js';
import { roundByHessian } from '../dist/passes/methods/gptq/round.js';
import { weightParameters } from '../dist/passes/quantize/weights.js';
import { OrtExecutor } from '../dist/src/runtime/ort-executor.js';
import { randoms } from './products.mjs';

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '4096,11008' },
    columns: { type: 'string', default: '4096' },
    bits: { type: 'string', default: '4' },
  },
});
const [columns, bits] = [Number(values.columns), Number(values.bits)];
const spec = /** @type {const} */ ({ bits, symmetric: false, grid: 'standard' });
const { min: qmin, max: qmax } = codeRange(bits, false);

const executor = new OrtExecutor();
const products = await openProducts(executor, new Map([['', 21]]));

/** @param {number} channels */
function gramOf(channels) {
  const width = randoms(channels, (x) => 2 ** (2 * x));
  const near = Float64Array.from({ length: channels }, (_, distance) => 0.95 ** distance);
  const matrix = new Float32Array(channels * channels);
  for (let i = 0; i < channels; i++)
    for (let j = 0; j < channels; j++) matrix[i * channels + j] = Number(width[i]) * Number(width[j]) * Number(near[Math.abs(i - j)]);
  return { matrix, mean: new Float32Array(channels) };
}

/** @template T @param {string} what @param {() => T | Promise<T>} f */
async function timed(what, f) {
  const [start, cpu] = [performance.now(), process.cpuUsage()];
  const result = await f();
  const { user, system } = process.cpuUsage(cpu);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`  ${what.padEnd(28)}${seconds.padStart(7)} s${((user + system) / 1e6).toFixed(1).padStart(8)} s of the processor here`);
  return result;
}

for (const channels of values.rows.split(',').map(Number)) {
  console.log(`${channels} rows, ${columns} columns, ${bits} bits`);
  const gram = gramOf(channels);
  const weight = randoms(channels * columns);
  const hessian = await timed('factor of the Hessian', () => hessianOf(gram, { damping: 0.01, order: 'variance' }, products, 'x'));
  const grouping = { sizes: [channels], wholeTensor: false, multiples: false };
  const grid = await timed('clip search', () => weightParameters(weight, columns, spec, grouping, hessian.variance));
  const subject = { weight, columns, sizes: [channels], ...grid, qmin, qmax, limit: null };
  await timed('rounding', () => roundByHessian(subject, hessian, products));
  console.log(`  largest memory of this process ${(process.resourceUsage().maxRSS / 2 ** 20).toFixed(2)} GiB`);
}
await products.close();
await executor.close();
