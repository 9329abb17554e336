/**
 * Kernels beside ONNX Runtime's own operators: npm run build && npm run build:kernels && node bench/kernels.mjs [--sizes 2048,4096] [--rows 1,8,128] [--runs 21]
 * One thread. All variants of a shape take turns; times are medians of the nodes' own times in ONNX Runtime's profile, quantization of the
 * input included, so what calling from JavaScript costs is not in them.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
// Before onnxruntime-node.
import { kernels } from '../dist/src/runtime/index.js';
import ort from 'onnxruntime-node';
import { encodeGraph, lowerTo, settleOpset, targetNamed, targets } from '../dist/codegen/index.js';
import { dense, float, Graph, int, int64s, ints, Node, tensorType } from '../dist/ir/index.js';
import { products, randoms } from './products.mjs';

const { values } = parseArgs({
  options: {
    sizes: { type: 'string', default: '2048,4096' },
    rows: { type: 'string', default: '1,8,128' },
    runs: { type: 'string', default: '21' },
  },
});
/** @param {string} list */
const numbers = (list) => list.split(',').map(Number);
const runs = Number(values.runs);
const folder = mkdtempSync(join(tmpdir(), 'qc-bench-'));
if (kernels.library === null) throw new Error(`no kernels: ${kernels.missing}`);

/**
 * A norm, an order of its channels and a quantizer: 32 clusters by our kernel, or one scale by ONNX Runtime's operators.
 * @param {number} size @param {string} target
 */
function norm(size, target) {
  const graph = new Graph('norm');
  const type = tensorType('f32', ['rows', size]);
  /** @param {string} op @param {import('../dist/ir/index.js').Value[]} inputs @param {import('../dist/ir/index.js').Attributes} attributes @param {string} name */
  const node = (op, inputs, attributes, name) => graph.append(new Node({ op, inputs, attributes, results: [{ name, type }] })).output;
  const x = graph.addInput('x', type);
  /** @param {string} name */
  const vector = (name) => graph.addConstant(name, dense([size], randoms(size)));
  const n = node('LayerNormalization', [x, vector('gamma'), vector('beta')], { epsilon: float(1e-5) }, 'n');
  const order = Array.from({ length: size }, (_, k) => (k * 37 + 11) % size);
  const o = node('qc.Encode', [n], { size: int(size), perm: ints(order) }, 'o');
  const count = target === 'qc-cpu' ? 32 : 1;
  const group = graph.addConstant(
    'group',
    int64s(
      [size],
      order.map((_, k) => Math.floor((k * count) / size)),
    ),
  );
  const scale = graph.addConstant('scale', dense([count], new Float32Array(count).fill(0.03)));
  const zero = graph.addConstant('zero', dense([count], new Float32Array(count)));
  const q = node('qc.FakeQuantize', [o, scale, zero, group], { qmin: int(-128), qmax: int(127) }, 'q');
  // Something has to read the codes as codes, or the target would not make any: a product of one column.
  const w = graph.addConstant('w', dense([size, 1], randoms(size)));
  const constants = [dense([1, 1], Float32Array.of(0.01)), dense([1, 1], Float32Array.of(0)), int64s([size], new Array(size).fill(0))];
  const quantizer = constants.map((c, i) => graph.addConstant(`w${i}`, c));
  const wq = node('qc.FakeQuantize', [w, ...quantizer], { qmin: int(-128), qmax: int(127) }, 'wq');
  graph.setType(wq, tensorType('f32', [size, 1]));
  graph.addOutput(node('MatMul', [q, wq], {}, 'y'));
  lowerTo(targetNamed(targets, target), graph);
  settleOpset(graph);
  return encodeGraph(graph);
}

/**
 * The median over the runs of the time that the nodes take, in microseconds, variant by variant.
 * @param {Record<string, Uint8Array>} models @param {number} rows @param {number} size @param {(operator: string) => boolean} [counts]
 */
async function measured(models, rows, size, counts = () => true) {
  /** @param {number} i */
  const prefix = (i) => `${rows}-${size}-${i}-`;
  const sessions = await Promise.all(
    Object.values(models).map((model, i) =>
      ort.InferenceSession.create(model, {
        intraOpNumThreads: 1,
        interOpNumThreads: 1,
        enableProfiling: true,
        profileFilePrefix: join(folder, prefix(i)),
        logSeverityLevel: 4,
        ...kernels.sessionOptions(),
      }),
    ),
  );
  const x = new ort.Tensor(
    'float32',
    randoms(rows * size, (r) => 3 * r),
    [rows, size],
  );
  for (let run = -3; run < runs; run++) for (const session of sessions) await session.run({ x });
  for (const session of sessions) {
    session.endProfiling();
    await session.release();
  }
  return sessions.map((_, i) => {
    const path = join(folder, readdirSync(folder).find((name) => name.startsWith(prefix(i))) ?? '');
    const events = JSON.parse(readFileSync(path, 'utf8'));
    rmSync(path);
    return perRun(events, counts).slice(3);
  });
}

/**
 * @param {readonly { cat: string, name: string, ts: number, dur: number, args?: { op_name?: string } }[]} events
 * @param {(operator: string) => boolean} counts
 */
function perRun(events, counts) {
  const spans = events.filter((e) => e.cat === 'Session' && e.name === 'model_run');
  const nodes = events.filter((e) => e.cat === 'Node' && e.name.endsWith('_kernel_time') && counts(e.args?.op_name ?? ''));
  return spans.map((s) => nodes.filter((n) => n.ts >= s.ts && n.ts <= s.ts + s.dur).reduce((sum, n) => sum + n.dur, 0));
}

/** @param {readonly number[]} v */
const median = (v) => v.toSorted((a, b) => a - b)[v.length >> 1] ?? NaN;

/** @param {string} name @param {readonly number[][]} times @param {readonly string[]} names */
function report(name, names, times) {
  const base = times[0] ?? [];
  for (const [i, t] of times.entries()) {
    const ratio = median(t.map((x, r) => x / (base[r] ?? NaN)));
    const sorted = t.toSorted((a, b) => a - b);
    const quarter = (/** @type {number} */ q) => (sorted[Math.floor((sorted.length - 1) * q)] ?? NaN).toFixed(0);
    console.log(
      `${name}  ${names[i]?.padEnd(34)} ${median(t).toFixed(0).padStart(8)} us  (${quarter(0.25)} to ${quarter(0.75)})  ${ratio.toFixed(2)}`,
    );
  }
}

console.log(`kernels ${kernels.level}, ONNX Runtime ${ort.env.versions.node}, ratios to the first line of each shape`);
for (const size of numbers(values.sizes)) {
  const models = products(size);
  for (const rows of numbers(values.rows)) report(`${rows} x ${size} x ${size}`, Object.keys(models), await measured(models, rows, size));
  const norms = { LayerNormReorderQuantize: norm(size, 'qc-cpu'), 'LayerNormalization, Gather, QuantizeLinear': norm(size, 'ort-cpu') };
  const own = (/** @type {string} */ op) => /Norm|Gather|^QuantizeLinear$/.test(op);
  report(`128 x ${size}`, Object.keys(norms), await measured(norms, 128, size, own));
}
rmSync(folder, { recursive: true });
