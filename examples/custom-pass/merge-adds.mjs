import {
  any,
  constant,
  definePass,
  derived,
  eachGraph,
  either,
  floats,
  ops,
  refuse,
  refusedAt,
  rewriteToFixpoint,
  rule,
  sizeOf,
  unshared,
} from '@onnx-qc/qc';

/** @import { Refused, Tensor } from '@onnx-qc/qc' */
/** @typedef {readonly number[]} Shape */

/**
 * The shape of a + b, by NumPy's broadcasting.
 * @type {(a: Shape, b: Shape) => Shape}
 */
const broadcast = (a, b) => {
  const rank = Math.max(a.length, b.length);
  const extent = (/** @type {number} */ axis) => ((a.at(axis) ?? 1) === 1 ? (b.at(axis) ?? 1) : (a.at(axis) ?? 1));
  return Array.from({ length: rank }, (_, axis) => extent(axis - rank));
};

/**
 * Where element `i` of a tensor of shape `whole` lies in one of shape `part`, which broadcasts to it.
 * @type {(part: Shape, whole: Shape, i: number) => number}
 */
const placeIn = (part, whole, i) => {
  let [place, stride, rest] = [0, 1, i];
  for (let axis = 1; axis <= whole.length; axis++) {
    const [own, extent] = [part.at(-axis) ?? 1, whole.at(-axis) ?? 1];
    if (own > 1) place += (rest % extent) * stride;
    stride *= own;
    rest = Math.floor(rest / extent);
  }
  return place;
};

/**
 * a + b in f32, computed when it is written.
 * @type {(a: Tensor, b: Tensor) => Tensor}
 */
const sumOf = (a, b) => {
  const shape = broadcast(a.shape, b.shape);
  return derived(a, shape, () => {
    const [left, right] = [floats(a), floats(b)];
    const sum = (/** @type {unknown} */ _, /** @type {number} */ i) =>
      (left[placeIn(a.shape, shape, i)] ?? 0) + (right[placeIn(b.shape, shape, i)] ?? 0);
    return Float32Array.from({ length: sizeOf(shape) }, sum);
  });
};

const inner = either(ops.Add, 'inner', { a: any('x'), b: constant('a') }, { a: constant('a'), b: any('x') });
const outer = either(ops.Add, 'outer', { a: unshared(inner), b: constant('b') }, { a: constant('b'), b: unshared(inner) });

/** (x + a) + b = x + (a + b) in f32, where nothing else reads x + a. */
const mergeAdds = rule('merge-adds', outer, ({ outer, inner, x, a, b }, build) => {
  const [first, second] = [a.constant, b.constant];
  if (first?.dtype !== 'f32' || second?.dtype !== 'f32') return 'no-match';
  if (inner.node.graph !== outer.node.graph) return refuse('one Add is inside a body and the other around it', inner.c);
  const sum = sumOf(first, second);
  if (sizeOf(sum.shape) > Math.max(sizeOf(first.shape), sizeOf(second.shape)))
    return refuse('the sum of its constants is larger than either', inner.c);
  const merged = build.make(ops.Add, { a: x, b: build.constant(b.name, sum) }, { like: outer.c, name: outer.node.name });
  build.graph.replace(outer.c, merged.c);
});

/** qc compile MODEL --plugin ./merge-adds.mjs -p "raise,fold-constants,merge-adds,os+" ... */
export default definePass({
  name: 'merge-adds',
  summary: 'add constants to one another before they are added to a value',
  contract: 'exact',
  run(graph, ctx) {
    /** @type {Refused[]} */
    const refused = [];
    for (const one of eachGraph(graph)) {
      const fired = rewriteToFixpoint(one, [mergeAdds], { onRefusal: (name, node, why) => refused.push(refusedAt(node, name, why)) });
      for (const times of fired.values()) ctx.count('merged', times);
    }
    ctx.ledger.refuse('merge-adds', refused);
  },
});
