/**
 * Seconds of each pass and peak resident memory of a compile of decoders with random weights:
 *   npm run build && node bench/scale.mjs [--shapes 4x1024,24x1024,24x2048] [--dtype f32|f16] [--passes rptq,os+] [--scheme w4a8]
 *     [--target qc-cpu] [--samples 8] [--seq 256] [--no-verify]
 * The memory is that of the compile and of the process that runs ONNX Runtime for it, at the same moment, mapped files included. Beside the
 * seconds stands their ratio to one pass of the float model over the same tokens in ONNX Runtime.
 */
import { fork } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { compile, OrtExecutor } from '@onnx-qc/qc';
import { writeDecoder } from './random-decoder.mjs';

const { values } = parseArgs({
  options: {
    shapes: { type: 'string', default: '4x1024,24x1024,24x2048' },
    dtype: { type: 'string', default: 'f32' },
    passes: { type: 'string', default: 'rptq,os+' },
    scheme: { type: 'string', default: 'w4a8' },
    target: { type: 'string', default: 'qc-cpu' },
    samples: { type: 'string', default: '8' },
    seq: { type: 'string', default: '256' },
    'no-verify': { type: 'boolean', default: false },
    worker: { type: 'string' },
  },
});
const [samples, seq] = [Number(values.samples), Number(values.seq)];
/** Tokens that a shape has: of a small model, and of OPT. @param {number} width */
const vocabularyOf = (width) => (width < 2048 ? 16384 : 50272);

/** @param {string} folder */
const files = (folder) => ({ model: join(folder, 'model.onnx'), output: join(folder, 'out.onnx'), data: join(folder, 'ids.jsonl') });

/** @param {string} folder */
async function compileIn(folder) {
  const { model, output, data } = files(folder);
  const start = performance.now();
  const report = await compile({
    model,
    output,
    passes: values.passes,
    scheme: values.scheme,
    target: values.target,
    verify: !values['no-verify'],
    data: { files: [data], samples, seq },
  });
  const seconds = (performance.now() - start) / 1000;
  const passes = report.passes.map((p) => ({ name: p.call.name, seconds: p.milliseconds / 1000 }));
  const { bytesBefore, bytesAfter, exactDifference, loweringDifference } = report;
  process.send?.({ seconds, passes, bytesBefore, bytesAfter, exactDifference, loweringDifference });
}

/** Seconds of one pass of a model over the samples, and to load it. @param {string} folder */
async function floatPass(folder) {
  const { model, data } = files(folder);
  const executor = new OrtExecutor();
  const program = await executor.openFile(model);
  const lines = readFileSync(data, 'utf8').trim().split('\n');
  const feeds = lines.map((line) => ({
    input_ids: { dtype: /** @type {const} */ ('i64'), shape: [1, seq], data: BigInt64Array.from(JSON.parse(line).input_ids, BigInt) },
  }));
  await program.time(/** @type {any} */ (feeds[0]));
  let milliseconds = 0;
  for (const f of feeds) milliseconds += await program.time(f);
  await executor.close();
  return milliseconds / 1000;
}

/** Resident bytes of a process and its descendants. @param {number} pid @returns {number} */
function resident(pid) {
  try {
    const pages = Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]);
    const children = readdirSync(`/proc/${pid}/task`).flatMap((t) => readFileSync(`/proc/${pid}/task/${t}/children`, 'utf8').split(' '));
    return pages * 4096 + children.filter((c) => c !== '').reduce((n, c) => n + resident(Number(c)), 0);
  } catch {
    return 0;
  }
}

/** @param {string} folder */
async function compiledApart(folder) {
  const child = fork(fileURLToPath(import.meta.url), [...process.argv.slice(2), '--worker', folder]);
  let peak = 0;
  const timer = setInterval(() => (peak = Math.max(peak, resident(child.pid ?? 0))), 20);
  let result = null;
  child.on('message', (message) => (result = message));
  await new Promise((resolve) => child.on('close', resolve));
  clearInterval(timer);
  if (result === null) throw new Error('the compile failed');
  return { .../** @type {any} */ (result), peak };
}

/** Whole numbers below `end`, the same each time. @param {number} count @param {number} end */
function integersBelow(count, end, seed = 7) {
  let state = seed;
  return Array.from({ length: count }, () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % end);
}

async function main() {
  for (const shape of values.shapes.split(',')) {
    const [layers = 4, width = 1024] = shape.split('x').map(Number);
    const folder = mkdtempSync(join(tmpdir(), 'qc-bench-'));
    try {
      const { model, data } = files(folder);
      const vocabulary = vocabularyOf(width);
      const parameters = writeDecoder(model, { layers, width, vocabulary, dtype: /** @type {'f32' | 'f16'} */ (values.dtype) });
      const lines = Array.from({ length: samples }, (_, s) => JSON.stringify({ input_ids: integersBelow(seq, vocabulary, s + 1) }));
      writeFileSync(data, `${lines.join('\n')}\n`);
      const once = await floatPass(folder);
      const { seconds, passes, bytesBefore, bytesAfter, peak, exactDifference, loweringDifference } = await compiledApart(folder);
      const millions = parameters / 1e6;
      console.log(
        `${shape} ${values.dtype}, ${millions.toFixed(0)} M parameters: ${seconds.toFixed(1)} s, ${(seconds / once).toFixed(0)} passes of the float model ` +
          `(${once.toFixed(2)} s each), ${(millions / seconds).toFixed(2)} M parameters a second, peak ${(peak / 2 ** 20).toFixed(0)} MB`,
      );
      const rest = seconds - passes.reduce((/** @type {number} */ n, /** @type {any} */ p) => n + p.seconds, 0);
      for (const { name, seconds: s } of [...passes, { name: 'the rest', seconds: rest }])
        console.log(`  ${name.padEnd(16)} ${s.toFixed(1)} s`);
      console.log(
        `  ${(bytesBefore / 1e6).toFixed(0)} MB to ${(bytesAfter / 1e6).toFixed(0)} MB; differences: exact passes ${exactDifference}, lowering ${loweringDifference}`,
      );
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
}

// A compile ends with the process that measures it.
process.on('disconnect', () => process.exit());
process.channel?.unref();
await (values.worker === undefined ? main() : compileIn(values.worker));
