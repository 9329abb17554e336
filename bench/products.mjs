/** Models of one product each, in the forms that are compared. */
import { encodeGraph, lowerTo, settleOpset, targetNamed, targets } from '../dist/codegen/index.js';
import { dense, Graph, int, int64s, Node, tensorType } from '../dist/ir/index.js';

let seed = 1;
const random = () => (seed = (seed * 1664525 + 1013904223) % 2 ** 32) / 2 ** 31 - 1;
/** Of a fixed seed. @param {number} count @param {(x: number) => number} [f] */
export const randoms = (count, f = (x) => x) => Float32Array.from({ length: count }, () => f(random()));

/**
 * @typedef {object} Spec
 * @property {string} target
 * @property {number} weightBits
 * @property {number} [inputBits] Static, of this many bits; without it, 8 bits in blocks at run time.
 * @property {number} groups Runs of channels that share a scale, of the weight and of a static input.
 */

/**
 * x [rows, size], quantized, times a quantized weight [size, size], by the operators of a target.
 * @param {number} size @param {Float32Array} weight @param {Spec} spec
 */
function product(size, weight, { target, weightBits, inputBits, groups }) {
  const graph = new Graph('product');
  const type = tensorType('f32', ['rows', size]);
  const index = () =>
    graph.addConstant(
      graph.freshName('group'),
      int64s(
        [size],
        Array.from({ length: size }, (_, k) => Math.floor((k * groups) / size)),
      ),
    );
  /** @param {number} bits */
  const bounds = (bits) => ({ qmin: int(-(2 ** (bits - 1))), qmax: int(2 ** (bits - 1) - 1) });
  /** @param {string} op @param {import('../dist/ir/index.js').Value[]} inputs @param {import('../dist/ir/index.js').Attributes} attributes @param {string} name */
  const node = (op, inputs, attributes, name) => graph.append(new Node({ op, inputs, attributes, results: [{ name, type }] })).output;
  const x = graph.addInput('x', type);
  const clusters = target === 'ort-cpu' ? 1 : groups;
  const scale = (/** @type {number[]} */ shape, /** @type {number} */ s) =>
    graph.addConstant(graph.freshName('scale'), dense(shape, new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(s)));
  const zero = (/** @type {number[]} */ shape, /** @type {number} */ size_) =>
    graph.addConstant(
      graph.freshName('zero'),
      dense(
        shape,
        randoms(
          shape.reduce((a, b) => a * b, 1),
          (r) => Math.round(r * size_),
        ),
      ),
    );
  const quantized =
    inputBits === undefined
      ? node('qc.DynamicQuantize', [x], { ...bounds(8), qmin: int(-127), symmetric: int(1), block: int(size / groups) }, 'xq')
      : node(
          'qc.FakeQuantize',
          [
            x,
            scale([clusters], 6 / 2 ** inputBits),
            zero([clusters], 2),
            clusters === 1 ? graph.addConstant('one', int64s([size], new Array(size).fill(0))) : index(),
          ],
          bounds(inputBits),
          'xq',
        );
  const shape = [groups, size];
  const w = graph.addConstant('w', dense([size, size], weight));
  const q = node(
    'qc.FakeQuantize',
    [w, scale(shape, 2 / 2 ** weightBits), zero(shape, weightBits === 8 ? 0 : 2), index()],
    bounds(weightBits),
    'wq',
  );
  graph.setType(q, tensorType('f32', [size, size]));
  graph.addOutput(node('MatMul', [quantized, q], {}, 'y'));
  lowerTo(targetNamed(targets, target), graph);
  settleOpset(graph);
  return encodeGraph(graph);
}

/** @param {number} size @returns {Record<string, Spec>} */
const specs = (size) => ({
  'W4A8, 32 clusters': { target: 'qc-cpu', weightBits: 4, inputBits: 8, groups: 32 },
  'W4A8, 1 cluster': { target: 'qc-cpu', weightBits: 4, inputBits: 8, groups: 1 },
  'W4A4, 32 clusters': { target: 'qc-cpu', weightBits: 4, inputBits: 4, groups: 32 },
  'W3A8, 32 clusters': { target: 'qc-cpu', weightBits: 3, inputBits: 8, groups: 32 },
  'W8A8, 32 clusters': { target: 'qc-cpu', weightBits: 8, inputBits: 8, groups: 32 },
  'MatMulNBits, 4 bits, blocks of 128': { target: 'ort-cpu', weightBits: 4, groups: size / 128 },
  'static int8, fused': { target: 'ort-cpu', weightBits: 8, inputBits: 8, groups: 1 },
});

/** The models by name. @param {number} size Of the square weight. */
export function products(size) {
  const weight = randoms(size * size);
  return Object.fromEntries(Object.entries(specs(size)).map(([name, spec]) => [name, product(size, weight, spec)]));
}
