/**
 * How fast weights are folded, quantized and packed at export: npm run build && node bench/weights.mjs [--rows 1024] [--columns 4096] [--runs 9]
 * Times are of the processor, threads that collect garbage included. Each run of a step stands beside a copy of the weight's own bytes; figures
 * are medians, ratios are to that copy.
 */
import { parseArgs } from 'node:util';
import { lowerTo, targetNamed, targets } from '../dist/codegen/index.js';
import { packWeight } from '../dist/codegen/kernels/packing.js';
import {
  dense,
  Graph,
  ints,
  movedColumns,
  movedRows,
  Node,
  permutation,
  shiftProduct,
  standardize,
  string,
  tensorType,
  transposed,
} from '../dist/ir/index.js';
import { PassManager, passes } from '../dist/passes/index.js';
import { weightParameters } from '../dist/passes/quantize/weights.js';
import { cluster } from '../dist/passes/methods/rptq/cluster.js';
import { randoms } from './products.mjs';

const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '1024' },
    columns: { type: 'string', default: '4096' },
    runs: { type: 'string', default: '9' },
  },
});
const [rows, columns, runs] = [Number(values.rows), Number(values.columns), Number(values.runs)];
const data = randoms(rows * columns);
/** Where the copies go. */
const copied = new Float32Array(data.length);
const w = dense([rows, columns], data);
/** @param {number} n */
const shuffled = (n) => permutation(Array.from({ length: n }, (_, i) => (i * 37 + 11) % n));
/** @param {number} n */
const scaled = (n) =>
  standardize(
    randoms(n),
    randoms(n, (x) => 1.5 + x),
  );
/** A weight as `rptq,os+` leaves it: rows in the order of the norm before it and scaled, columns in the order of the product after it. */
const folded = movedColumns(shuffled(columns), movedRows(scaled(rows), movedRows(shuffled(rows), w)));
/** Row groups as 32 clusters give them. */
const groups = Array.from({ length: 32 }, () => rows / 32);
const blocks = Array.from({ length: rows / 32 }, () => 32);
const whole = { sizes: [rows], wholeTensor: false, multiples: false };
/** @param {number} bits */
const codes = (bits) => Int8Array.from(data, (x) => Math.floor(x * 2 ** (bits - 1)));
const [codes4, codes8] = [codes(4), codes(8)];

/**
 * Quantizes, lowers and computes all constants of x W, as a compile does between the last fold and the file; bytes of the constants.
 * @param {import('../dist/ir/index.js').Tensor} weight @param {string} target @param {string} pipeline
 */
async function exported(weight, target, pipeline) {
  const graph = new Graph('product');
  /** @param {string} op @param {import('../dist/ir/index.js').Value[]} inputs @param {string} name @param {number} size @param {import('../dist/ir/index.js').Attributes} attributes */
  const node = (op, inputs, name, size, attributes = {}) =>
    graph.append(new Node({ op, inputs, attributes, results: [{ name, type: tensorType('f32', ['rows', size]) }] })).output;
  const x = graph.addInput('x', tensorType('f32', ['rows', rows]));
  const site = node('qc.Site', [x], 's', rows, { key: string('s'), role: string('linear'), groups: ints(groups) });
  graph.addOutput(node('MatMul', [site, graph.addConstant('w', weight)], 'y', columns));
  const plan = new PassManager(passes).plan(pipeline, ['sites', 'folded']);
  await plan.run(graph, { services: /** @type {never} */ ({}), contract: null });
  lowerTo(targetNamed(targets, target), graph);
  return [...graph.constants].reduce((n, v) => n + (v.constant?.bytes().length ?? 0), 0);
}

const asymmetric = { bits: 4, symmetric: false, grid: /** @type {const} */ ('standard') };
const points = Array.from({ length: columns }, () => {
  const [centre, width] = [Math.exp(3 * (randoms(1)[0] ?? 0)), Math.exp(2 * (randoms(1)[0] ?? 0))];
  return [centre + width, centre - width];
});

/** @type {Record<string, () => unknown>} */
const steps = {
  'copy of the bytes': () => copied.set(data),
  'fold rows: order and scale': () => movedRows(scaled(rows), movedRows(shuffled(rows), w)).bytes(),
  'fold columns: order': () => movedColumns(shuffled(columns), w).bytes(),
  'fold rows, then columns': () => folded.bytes(),
  'shift times weight': () => shiftProduct(scaled(rows), w).bytes(),
  transpose: () => transposed(w).bytes(),
  'scales, one group': () => weightParameters(data, columns, asymmetric, whole),
  'scales, blocks of 32 rows': () => weightParameters(data, columns, asymmetric, { ...whole, sizes: blocks }),
  'scales, blocks, as multiples': () => weightParameters(data, columns, asymmetric, { sizes: blocks, wholeTensor: false, multiples: true }),
  'packing for qc-cpu, 4 bits': () => packWeight(codes4, rows, columns, 4),
  'packing for qc-cpu, 8 bits': () => packWeight(codes8, rows, columns, 8),
  'export to qc-cpu, 4 bits': () => exported(folded, 'qc-cpu', 'quantize{scheme=os+-int4-token}'),
  'export to qc-cpu, 6 bits in 8': () => exported(folded, 'qc-cpu', 'quantize{scheme=os+-int6-token}'),
  'export to qc-cpu, unfolded, 4 bits': () => exported(w, 'qc-cpu', 'quantize{scheme=os+-int4-token}'),
  'export to MatMulNBits, 4 bits': () => exported(folded, 'ort-cpu', 'quantize{scheme=w4a16 weights=block}'),
  'k-means, 32 of a channel each': () => cluster(points, 32, 0),
};

/** Milliseconds of processor time. @param {() => unknown} step */
async function timed(step) {
  const start = process.cpuUsage();
  await step();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
}

/** @param {readonly number[]} v */
const median = (v) => v.toSorted((a, b) => a - b)[v.length >> 1] ?? NaN;

for (const [name, step] of Object.entries(steps)) {
  const times = [];
  // As in an export, a step follows itself: the first runs are those in which the compiler of JavaScript gets to know it.
  for (let run = -3; run < runs; run++) {
    const [copy, time] = [await timed(() => copied.set(data)), await timed(step)];
    if (run >= 0) times.push({ time, ratio: time / copy });
  }
  const [time, ratio] = [median(times.map((t) => t.time)), median(times.map((t) => t.ratio))];
  const rate = (name.startsWith('k-means') ? columns : rows * columns) / time / 1000;
  console.log(
    `${name.padEnd(36)} ${rate.toFixed(rate < 1 ? 3 : 1).padStart(8)} M/s  ${time.toFixed(1).padStart(8)} ms  ${ratio.toFixed(1).padStart(7)}`,
  );
}
