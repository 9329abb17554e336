import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { cloneGraph, inferTypes, parseGraph, type Graph, type Value } from '../../ir/index.ts';
import {
  atLeast,
  broadcast,
  divide,
  lesser,
  minus,
  multiply,
  plus,
  productOf,
  reshaped,
  sameShape,
  withExtent,
} from '../../ir/shapes/dims.ts';
import { formatType, type Dim } from '../../ir/types.ts';
import { runOnce, type Feeds } from '../../passes/index.ts';
import { openModel, syntheticFeeds } from '../../src/model.ts';
import { crosses } from '../../src/runtime/boundary.ts';
import { familyPath, fusedFamilies } from '../support/families.ts';
import { fusedForms, openForm } from '../support/fused-forms.ts';
import { fixtureData, fixtureNames, i64, openFixture, plainExecutor, runPipeline, valueNamed } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

describe('extents', () => {
  const symbols = { a: 2, b: 3, c: 5 };
  const term = (text: string): number => text.split('*').reduce((n, p) => n * (symbols[p as 'a'] ?? Number(p)), 1);
  const value = (d: Dim): number =>
    String(d)
      .split(' + ')
      .reduce((n, t) => n + term(t), 0);
  const product: fc.Arbitrary<number | string> = fc.oneof(
    fc.integer({ min: 1, max: 12 }),
    fc
      .tuple(fc.integer({ min: 1, max: 4 }), fc.subarray(['a', 'b', 'c', 'a']))
      .map(([n, s]) => (s.length === 0 ? n : [...(n === 1 ? [] : [String(n)]), ...s].sort().join('*'))),
  );
  const dim = fc.oneof(
    product,
    fc.tuple(product, product).map(([x, y]) => plus(x, y)!),
  );
  test('multiply like the numbers they stand for, in any order', () =>
    fc.assert(
      fc.property(dim, dim, dim, (x, y, z) => {
        expect(value(multiply(x, y))).toBe(value(x) * value(y));
        expect(multiply(x, y)).toBe(multiply(y, x));
        expect(multiply(multiply(x, y), z)).toBe(multiply(x, multiply(y, z)));
        expect(multiply(x, 1)).toBe(multiply(1, x));
      }),
    ));
  test('divide back what was multiplied, and are never rounded', () =>
    fc.assert(
      fc.property(dim, dim, (x, y) => {
        expect(divide(multiply(x, y), y)).toBe(multiply(x, 1));
        const q = divide(x, y);
        if (q !== null) expect(value(q) * value(y)).toBe(value(x));
      }),
    ));
  test('add and subtract like the numbers they stand for, and stay the same where they are at least another', () =>
    fc.assert(
      fc.property(dim, dim, (x, y) => {
        expect(value(plus(x, y))).toBe(value(x) + value(y));
        expect(value(minus(x, y))).toBe(value(x) - value(y));
        expect(minus(plus(x, y), y)).toBe(plus(x, 0));
        if (atLeast(x, y)) expect(value(x)).toBeGreaterThanOrEqual(value(y));
      }),
    ));
  test('take another extent in the place of a symbol, unless a longer symbol holds it', () => {
    expect([withExtent('n + p', 'p', 0), withExtent('2*n*p', 'p', 'p + q'), withExtent('p*p', 'p', 3), withExtent('pp', 'p', 0)]).toEqual([
      'n',
      '2*n*p + 2*n*q',
      9,
      'pp',
    ]);
    expect([withExtent('min(48,p)', 'p', 0), withExtent(null, 'p', 0)]).toEqual([null, null]);
  });
  test('have a lesser one, which broadcasts to the other', () => {
    expect([lesser('n', 'n + p'), lesser(4, 7), lesser('n', 48), lesser(48, 'n'), lesser(null, 3)]).toEqual([
      'n',
      4,
      'min(48,n)',
      'min(48,n)',
      null,
    ]);
    expect(broadcast(['n', 'min(48,n)'], ['min(48,n)', 'm'])).toEqual(['n', null]);
    expect(multiply('min(48,n)', 2)).toBe('2*min(48,n)');
  });
  test('of which nothing is known give nothing', () => {
    expect([
      multiply(null, 2),
      divide(2, null),
      divide('a', 'b'),
      divide(7, 2),
      divide(1, 0),
      plus('a', null),
      productOf(['a', null]),
    ]).toEqual(new Array(7).fill(null));
    expect([plus(0, 'a'), plus('a', 0), plus(2, 3), multiply('a', 0)]).toEqual(['a', 'a', 5, 0]);
  });
  test('broadcast as numpy does, a known extent winning over a symbol', () => {
    expect(broadcast([3, 1], [4])).toEqual([3, 4]);
    expect(broadcast(['n', 1, 8], ['n', 12, 8])).toEqual(['n', 12, 8]);
    expect(broadcast(['n'], ['m'])).toEqual([null]);
    expect(broadcast(['n'], [5])).toEqual([5]);
    expect(broadcast([null], [1])).toEqual([null]);
    expect(broadcast([], ['n', 2])).toEqual(['n', 2]);
  });
  test('reshape: 0 copies, -1 takes what is left', () => {
    expect(reshaped(['b', 's', 64], [0, 0, 4, 16], false)).toEqual(['b', 's', 4, 16]);
    expect(reshaped(['b', 's', 64], [0, -1, 4, 16], false)).toEqual(['b', 's', 4, 16]);
    expect(reshaped(['b', 's', 64], [-1, 64], false)).toEqual(['b*s', 64]);
    expect(reshaped([4, 0], [0, 4], true)).toEqual([0, 4]);
    expect(reshaped(null, [-1, 64], false)).toEqual([null, 64]);
    expect(reshaped(['b', 7], [2, -1], false)).toEqual([2, null]);
  });
  test('shapes are the same only when all of both is known', () => {
    expect([sameShape(['a', 2], ['a', 2]), sameShape(['a', null], ['a', null]), sameShape(null, null), sameShape([2], [2, 1])]).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });
});

const inferred = (text: string): string => {
  const graph = parseGraph(text);
  inferTypes(graph);
  return graph.outputs.map((v) => (v.type ? formatType(v.type) : 'nothing')).join(' ');
};

describe('inference', () => {
  test.each([
    ['broadcasts', 'graph @g(%x: f32[b,1,8], %y: f32[s,8]) { %z = Add(%x, %y) return %z }', 'f32[b,s,8]'],
    [
      'takes all operands of a variadic operator',
      'graph @g(%x: f32[1], %y: f32[1], %z: f32[3]) { %m = Max(%x, %y, %z) return %m }',
      'f32[3]',
    ],
    ['compares to bool', 'graph @g(%x: f32[b,8]) { %z = Less(%x, %x) return %z }', 'bool[b,8]'],
    [
      'multiplies matrices, batches broadcast',
      'graph @g(%x: f32[b,1,s,8], %w: f32[4,8,n]) { %z = MatMul(%x, %w) return %z }',
      'f32[b,4,s,n]',
    ],
    [
      'follows Shape, Gather, Concat into Reshape',
      `graph @g(%x: f32[b,s,64]) {
      const %i0: i64[] = [0] const %i1: i64[] = [1] const %a: i64[1] = [0] const %h: i64[1] = [4] const %r: i64[1] = [-1]
      %sh = Shape(%x) %b = Gather(%sh, %i0) %s = Gather(%sh, %i1) %b1 = Unsqueeze(%b, %a) %s1 = Unsqueeze(%s, %a)
      %t = Concat(%b1, %s1, %h, %r) {axis = 0} %y = Reshape(%x, %t) return %y }`,
      'f32[b,s,4,16]',
    ],
    [
      'multiplies extents',
      `graph @g(%x: f32[b,s,64]) {
      const %i0: i64[1] = [0] const %i1: i64[1] = [1] const %c: i64[1] = [-1]
      %sh = Shape(%x) %b = Gather(%sh, %i0) %s = Gather(%sh, %i1) %n = Mul(%b, %s) %t = Concat(%n, %c) {axis = 0} %y = Reshape(%x, %t) return %y }`,
      'f32[b*s,64]',
    ],
    ['takes -n for -n', `graph @g(%x: f32[6]) { const %i: i64[1] = [-2] %n = Neg(%i) %y = ConstantOfShape(%n) return %y }`, 'f32[2]'],
    [
      'does not take the root of n for n',
      `graph @g(%x: f32[64]) { %s = Shape(%x) %f = Cast(%s) {to = 1} %r = Sqrt(%f) %n = Cast(%r) {to = 7} %y = ConstantOfShape(%n) return %y }`,
      'f32',
    ],
    [
      'reduces',
      'graph @g(%x: f32[b,s,8]) { const %a: i64[1] = [-1] %y = ReduceMean(%x, %a) %z = ReduceSum(%x, %a) {keepdims = 0} %w = ReduceMax(%x) {keepdims = 0} return %y, %z, %w }',
      'f32[b,s,1] f32[b,s] f32[]',
    ],
    [
      'reduces over everything when no axis is listed',
      'graph @g(%x: f32[b,8]) { const %a: i64[0] = [] %y = ReduceSum(%x, %a) {keepdims = 0} %z = ReduceSum(%x, %a) {keepdims = 0, noop_with_empty_axes = 1} return %y, %z }',
      'f32[] f32[b,8]',
    ],
    [
      'does not guess axes that it does not know',
      'graph @g(%x: f32[b,8], %a: i64[1]) { %y = ReduceSum(%x, %a) const %i: i64[1] = [0] const %e: i64[1] = [2] %z = Slice(%x, %i, %e, %a) return %y, %z }',
      'f32 f32',
    ],
    [
      'repeats, and gathers as many elements as there are indices',
      'graph @g(%x: f32[1,seq,8], %i: i64[b,seq,4], %n: i64[3]) { %b = Shape(%i) {end = 1} const %one: i64[2] = [1, 2] %r = Concat(%b, %one) {axis = 0} %y = Tile(%x, %r) %z = GatherElements(%y, %i) {axis = 2} %u = Tile(%x, %n) return %y, %z, %u }',
      'f32[b,seq,16] f32[b,seq,4] f32',
    ],
    [
      'joins, and cuts what was joined',
      `graph @g(%p: f32[b,past], %x: f32[b,seq]) { const %0: i64[1] = [0] const %1: i64[1] = [1] const %big: i64[1] = [9223372036854775807]
        %y = Concat(%p, %x) {axis = 1} %s = Shape(%x) {start = 1} %q = Shape(%p) {start = 1} %n = Neg(%s)
        %z = Slice(%y, %0, %s, %1) %w = Slice(%y, %q, %big, %1) %v = Slice(%y, %n, %big, %1) return %y, %z, %w, %v }`,
      'f32[b,"past + seq"] f32[b,seq] f32[b,seq] f32[b,seq]',
    ],
    [
      'turns',
      'graph @g(%x: f32[a,b,c]) { %y = Transpose(%x) %z = Transpose(%x) {perm = [0, 2, 1]} return %y, %z }',
      'f32[c,b,a] f32[a,c,b]',
    ],
    [
      'splits',
      'graph @g(%x: f32[b,192]) { %q, %k, %v = Split(%x) {axis = -1, num_outputs = 3} const %n: i64[2] = [64, 128] %s, %t = Split(%x, %n) {axis = 1} return %q, %k, %v, %s, %t }',
      'f32[b,64] f32[b,64] f32[b,64] f32[b,64] f32[b,128]',
    ],
    [
      'flattens and squeezes',
      'graph @g(%x: f32[a,1,b]) { const %i: i64[1] = [1] %y = Flatten(%x) {axis = 2} %z = Squeeze(%x, %i) return %y, %z }',
      'f32[a,b] f32[a,b]',
    ],
    [
      'gives Attention the extents of the query and the channels of the values',
      'graph @g(%q: f32[b,s,32], %k: f32[b,t,16], %v: f32[b,t,8]) { %y = Attention(%q, %k, %v) {q_num_heads = 4, kv_num_heads = 2} return %y }',
      'f32[b,s,16]',
    ],
    [
      'gives the caches of Attention the types of key and value',
      `graph @g(%q: f16[b,s,8], %k: f16[b,t,8], %v: f32[b,t,8]) {
      %y, %pk, %pv = Attention(%q, %k, %v) {q_num_heads = 2, kv_num_heads = 2} return %pk, %pv }`,
      'f16 f32',
    ],
    [
      'quantizes to the type of the zero point and back to that of the scale',
      `graph @g(%x: f16[b,8]) { const %s: f16[] = [0.5] const %z: i8[] = [1] const %w: i8[8,3] = splat 1
      %q = QuantizeLinear(%x, %s, %z) %d = DequantizeLinear(%q, %s, %z) %m = MatMulInteger(%q, %w) %u = QuantizeLinear(%x, %s)
      return %q, %d, %m, %u }`,
      'i8[b,8] f16[b,8] i32[b,3] u8[b,8]',
    ],
    [
      'knows the element type where it does not know the extents',
      `graph @g(%x: f16[b,8], %n: i64[2]) { const %k: i64[1] = [2]
      %t = Tile(%x, %n) %v, %i = TopK(%x, %k) %a = ArgMax(%x) return %t, %v, %i, %a }`,
      'f16 f16 i64 i64[1,8]',
    ],
    [
      'parts of a shape are extents',
      `graph @g(%x: f32[b,s,6]) { const %n: i64[2] = [1, 2] %h = Shape(%x) %p, %q = Split(%h, %n) {axis = 0}
      const %l: i64[1] = [2] const %o: i64[1] = [0] %r = Concat(%p, %q, %l) {axis = 0} const %m: i64[4] = [1, 1, 3, 1]
      %d = Div(%r, %m) %y = Reshape(%x, %d) return %y }`,
      'f32[b,s,2,2]',
    ],
    [
      'gives an unknown extent one name all the way down',
      'graph @g(%n: i64[]) { const %o: i64[] = [0] const %i: i64[] = [1] %z = Range(%o, %n, %i) %u = Neg(%z) %w = Range(%o, %n, %i) return %z, %u, %w }',
      'i64[?1] i64[?1] i64[?2]',
    ],
    [
      'cuts what is known of an axis, and the whole of one that is not',
      `graph @g(%x: f32[b,s,16]) {
      const %a: i64[2] = [-1, 1] const %o: i64[2] = [8, 0] const %e: i64[2] = [9223372036854775807, 9223372036854775807] %y = Slice(%x, %o, %e, %a)
      const %c: i64[1] = [2] const %f: i64[1] = [-6] const %l: i64[1] = [-2] const %t: i64[1] = [2]
      %z = Slice(%x, %f, %l, %c) %w = Slice(%x, %f, %l, %c, %t) %v = Slice(%x, %t, %f, %c) return %y, %z, %w, %v }`,
      'f32[b,s,8] f32[b,s,4] f32[b,s,?1] f32[b,s,8]',
    ],
    [
      'cuts at what shape arithmetic gives, but no extent that it does not know',
      `graph @g(%x: f32[b,s,16]) {
      const %i: i64[] = [2] const %j: i64[] = [1] const %a: i64[1] = [0] const %c: i64[1] = [2] const %d: i64[1] = [1]
      %sh = Shape(%x) %n = Gather(%sh, %i) %h = Div(%n, %i) %e = Unsqueeze(%h, %a) %y = Slice(%x, %a, %e, %c)
      %m = Gather(%sh, %j) %l = Unsqueeze(%m, %a) %z = Slice(%x, %a, %l, %d) %w = Slice(%x, %d, %c, %d) return %y, %z, %w }`,
      'f32[b,s,8] f32[b,s,16] f32[b,?1,16]',
    ],
    [
      'divides integers without a rest, and nothing else',
      `graph @g(%x: f32[b,48]) {
      const %i: i64[1] = [1] const %two: i64[1] = [2] const %three: i64[1] = [3] const %one: i64[1] = [0] const %third: f32[1] = [3.0]
      %sh = Shape(%x) %n = Gather(%sh, %i) %m = Add(%n, %two) %d = Div(%m, %three) %y = Slice(%x, %one, %d, %i)
      %f = Cast(%m) {to = 1} %g = Div(%f, %third) %h = Cast(%g) {to = 7} %z = Slice(%x, %one, %h, %i) return %y, %z }`,
      'f32[b,16] f32[b,?1]',
    ],
    [
      'counts up to an extent',
      `graph @g(%x: f32[b,s,16]) {
      const %o: i64[] = [0] const %i: i64[] = [1] const %two: i64[] = [2]
      %sh = Shape(%x) %n = Gather(%sh, %i) %y = Range(%o, %n, %i) %z = Range(%i, %n, %i) %w = Range(%o, %n, %two) return %y, %z, %w }`,
      'i64[s] i64[?1] i64[?2]',
    ],
    ['names unnamed extents of inputs', 'graph @g(%x: f32[?,8]) { %y = Relu(%x) return %y }', 'f32[x_0,8]'],
    [
      'says nothing of an operator that it does not know',
      'graph @g(%x: f32[2]) { %y = com.example.Odd(%x) %z = Relu(%y) return %z }',
      'nothing',
    ],
    ['keeps what is known already', 'graph @g(%x: f32[2]) { %y: f32[N,7] = com.example.Odd(%x) %z = Relu(%y) return %z }', 'f32[N,7]'],
  ])('%s', (_, text, expected) => expect(inferred(text)).toBe(expected));
  test('is idempotent', () => {
    const graph = openFixture('gpt2-tiny-op17');
    const shapes = (): readonly string[] => [...graph.nodes].flatMap((n) => n.outputs.map((o) => (o.type ? formatType(o.type) : '-')));
    inferTypes(graph);
    const once = shapes();
    inferTypes(graph);
    expect(shapes()).toEqual(once);
  });
});

/** What a symbolic extent is, given what its symbols are; a symbol that is not bound yet is bound to what it must be. */
function extentOf(d: Dim, real: number, bound: Map<string, number>): number | null {
  if (typeof d !== 'string') return d;
  const symbols = d.split('*').filter((p) => !/^\d+$/.test(p));
  const open = symbols.filter((s) => !bound.has(s));
  if (open.length === 1 && symbols.length === 1)
    bound.set(open[0]!, real / d.split('*').reduce((n, p) => n * (/^\d+$/.test(p) ? Number(p) : 1), 1));
  else if (open.length > 0) return null;
  return d.split('*').reduce((n, p) => n * (bound.get(p) ?? Number(p)), 1);
}

/** Runs a graph with every value as an output, and lists the values whose inferred type is not the real one. */
async function disagreements(graph: Graph, feeds: Feeds): Promise<{ readonly wrong: readonly string[]; readonly checked: number }> {
  inferTypes(graph);
  const values: readonly Value[] = [...graph.nodes].flatMap((n) => n.outputs.filter((v) => v.name !== ''));
  const known = values.filter((v) => v.type !== null && crosses(v.type.dtype));
  const copy = cloneGraph(graph);
  copy.setOutputs(known.map((v) => valueNamed(copy, v.name)));
  const real = await runOnce(executor, copy, feeds);
  const bound = new Map<string, number>();
  for (const input of graph.inputs) input.type!.shape!.forEach((d, i) => extentOf(d, feeds[input.name]!.shape[i]!, bound));
  const wrong = known.flatMap((v) => {
    const { dtype, shape } = real[v.name]!;
    const claimed = v.type!;
    const fits =
      claimed.shape === null ||
      (claimed.shape.length === shape.length && claimed.shape.every((d, i) => (extentOf(d, shape[i]!, bound) ?? shape[i]) === shape[i]));
    return claimed.dtype === dtype && fits
      ? []
      : [`${v.producer!.op} %${v.name}: inferred ${formatType(claimed)}, really ${dtype}[${shape.join()}]`];
  });
  return { wrong, checked: known.length };
}

test('an operator that lacks its operands has no shape, and stops nothing', () => {
  const graph = parseGraph('graph @g(%x: f32[2]) { %y = Max() %z = Add(%x) %w = Where() return %y, %z, %w }');
  inferTypes(graph);
  expect(graph.outputs.map((v) => v.type?.shape ?? null)).toEqual([null, [2], null]);
});

describe('what is inferred on exported models is what ONNX Runtime gives', () => {
  test.each(fixtureNames)('%s, before and after raising', async (name) => {
    const graph = openFixture(name);
    const { feeds } = fixtureData(name);
    const total = [...graph.nodes].flatMap((n) => n.outputs).length;
    const before = await disagreements(graph, feeds);
    expect(before.wrong).toEqual([]);
    expect(before.checked).toBeGreaterThan(total * 0.95);
    await runPipeline(executor, graph, 'raise,fold-constants');
    expect((await disagreements(graph, feeds)).wrong).toEqual([]);
  });
  test('and with other extents as well', async () => {
    const feeds = { input_ids: i64([3, 5], new Array<number>(15).fill(7)), attention_mask: i64([3, 5], new Array<number>(15).fill(1)) };
    for (const name of ['opt-tiny-op13', 'gpt2-tiny-op17'] as const)
      expect((await disagreements(openFixture(name), feeds)).wrong).toEqual([]);
  });
});

describe('and on models of other families', () => {
  test.each(['llama-ts17', 'neox-ts17', 'falcon-ts17', 'phi3-optimum'])('%s', async (name) => {
    const graph = openModel(familyPath(name));
    expect((await disagreements(graph, syntheticFeeds(graph, { sequence: 7, past: 3 }))).wrong).toEqual([]);
  });
});

describe('and behind operators of ONNX Runtime', () => {
  test.each(fusedForms.map((form) => [form.name, form] as const))('%s', async (_, form) => {
    const graph = openForm(form);
    const { wrong, checked } = await disagreements(graph, form.feeds);
    expect(wrong).toEqual([]);
    expect(checked).toBe([...graph.nodes].flatMap((n) => n.outputs).filter((v) => v.name !== '').length);
  });
});

describe('and on fused models no type is lost', () => {
  // Branches of an If in DeBERTa give results of unlike ranks.
  test.each(fusedFamilies.filter((name) => !name.startsWith('deberta')))('%s', async (name) => {
    const graph = openModel(familyPath(name));
    const values = [...graph.nodes].flatMap((n) => n.outputs);
    for (const v of values) graph.setType(v, null);
    expect((await disagreements(graph, syntheticFeeds(graph, { sequence: 7, past: 3 }))).wrong).toEqual([]);
    expect(values.filter((v) => !v.type?.shape).map((v) => v.name)).toEqual([]);
  });
});
