import { describe, expect, test } from '@jest/globals';
import {
  Builder,
  any,
  constant,
  either,
  Encode,
  isOutput,
  op,
  ops,
  parseGraph,
  printGraph,
  refuse,
  rewriteToFixpoint,
  rule,
  unshared,
  verify,
  type Bindings,
  type Graph,
  type RewriteRule,
} from '../../ir/index.ts';
import { errorOf, opsOf, valueNamed } from '../support/run.ts';

const { Add, Identity, LayerNormalization, MatMul, Mul, Neg, Relu } = ops;
const mlp = (): Graph =>
  parseGraph(`graph @mlp(%x: f32[N,2]) {
  const %g: f32[2] = [1.0, 2.0]
  const %b: f32[2] = [0.0, 0.0]
  const %w: f32[2,2] = [1.0, 2.0, 3.0, 4.0]
  const %c: f32[2] = [5.0, 6.0]
  %h: f32[N,2] = LayerNormalization(%x, %g, %b) {epsilon = 0.25}
  %p: f32[N,2] = MatMul(%h, %w)
  %s: f32[N,2] = Add(%p, %c)
  return %s
}`);

describe('patterns', () => {
  test('bind what they meet, typed through nesting', () => {
    const pattern = op(Add, 'add', {
      a: op(MatMul, 'mm', { a: op(LayerNormalization, 'ln', { x: any('x'), scale: constant('gain') }), b: constant('w') }),
      b: constant('bias'),
    });
    const into: Bindings = {};
    const graph = mlp();
    expect(pattern.match(valueNamed(graph, 's'), into)).toBe(true);
    const found = into as NonNullable<typeof pattern.captures>;
    const epsilon: number = found.ln.epsilon;
    expect([epsilon, found.w.name, found.bias.name, found.x.name, found.gain.name, found.mm.b.name]).toEqual([
      0.25,
      'w',
      'c',
      'x',
      'g',
      'w',
    ]);
    // @ts-expect-error MatMul has no operand named 'z'
    op(MatMul, 'mm', { z: any('q') });
    // @ts-expect-error there is no capture of that name
    expect(found.nothing).toBeUndefined();
    // @ts-expect-error an epsilon is a number, not a text
    const text: string = found.ln.epsilon;
    expect(text).toBe(0.25);
  });
  test('do not match another operator, a second result, or a missing operand', () => {
    const graph = parseGraph('graph @g(%x: f32[2]) { const %g: f32[2] = [1.0, 1.0] %a, %m = LayerNormalization(%x, %g) return %a, %m }');
    const norm = (inputs: Parameters<typeof op<typeof LayerNormalization, 'ln', { readonly b?: ReturnType<typeof any<'b'>> }>>[2]) =>
      op(LayerNormalization, 'ln', inputs);
    expect(norm({}).match(valueNamed(graph, 'a'), {})).toBe(true);
    expect(norm({}).match(valueNamed(graph, 'm'), {})).toBe(false);
    expect(norm({ b: any('b') }).match(valueNamed(graph, 'a'), {})).toBe(false);
    expect(op(Relu, 'r', {}).match(valueNamed(graph, 'a'), {})).toBe(false);
    expect(op(Relu, 'r', {}).match(null, {})).toBe(false);
  });
  test('the same name twice means the same value, or the same node', () => {
    const graph = parseGraph(
      'graph @g(%x: f32[2], %y: f32[2]) { %a = Add(%x, %x) %b = Add(%x, %y) %r = Relu(%x) %c = Mul(%r, %r) %q = Relu(%x) %d = Mul(%r, %q) return %a, %b, %c, %d }',
    );
    const twice = op(Add, 'add', { a: any('x'), b: any('x') });
    expect([twice.match(valueNamed(graph, 'a'), {}), twice.match(valueNamed(graph, 'b'), {})]).toEqual([true, false]);
    const square = op(Mul, 'mul', { a: op(Relu, 'r', {}), b: op(Relu, 'r', {}) });
    expect([square.match(valueNamed(graph, 'c'), {}), square.match(valueNamed(graph, 'd'), {})]).toEqual([true, false]);
  });
  test('either order of a commutative operator matches, and a failed try binds nothing', () => {
    const graph = parseGraph(
      'graph @g(%x: f32[2]) { const %k: f32[2] = [1.0, 2.0] %a = Add(%x, %k) %b = Add(%k, %x) %c = Add(%x, %x) return %a, %b, %c }',
    );
    const biased = either(Add, 'add', { a: any('x'), b: constant('k') }, { a: constant('k'), b: any('x') });
    for (const name of ['a', 'b']) {
      const into: Bindings = {};
      expect(biased.match(valueNamed(graph, name), into)).toBe(true);
      const found = into as NonNullable<typeof biased.captures>;
      expect([found.x.name, found.k.name]).toEqual(['x', 'k']);
    }
    const into: Bindings = {};
    expect(biased.match(valueNamed(graph, 'c'), into)).toBe(false);
    expect(into).toEqual({});
  });
  test('unshared means one reader, and not the caller of the graph', () => {
    const graph = parseGraph('graph @g(%x: f32[2]) { %a = Relu(%x) %b = Neg(%a) %c = Neg(%a) %d = Relu(%b) return %d, %c }');
    const alone = unshared(any('v'));
    expect(['a', 'b', 'c', 'd'].map((n) => alone.match(valueNamed(graph, n), {}))).toEqual([false, true, false, false]);
    expect(['b', 'c'].map((n) => isOutput(valueNamed(graph, n)))).toEqual([false, true]);
  });
});

const doubleNegation = rule('double-negation', op(Neg, 'outer', { x: op(Neg, 'inner', { x: any('x') }) }), ({ outer, x }, { graph }) =>
  graph.replaceUses(outer.y, x),
);
const negations = (n: number): Graph =>
  parseGraph(
    `graph @g(%x: f32[2]) { ${Array.from({ length: n }, (_, i) => `%n${i} = Neg(%${i === 0 ? 'x' : `n${i - 1}`})`).join(' ')} %y = Relu(%n${n - 1}) return %y }`,
  );

describe('the engine', () => {
  test.each([
    [2, 1],
    [3, 1],
    [7, 3],
    [10, 5],
  ])('applies a rule until it fires no more: %i negations, %i times', (n, times) => {
    const graph = negations(n);
    expect(rewriteToFixpoint(graph, [doubleNegation]).get('double-negation')).toBe(times);
    expect(opsOf(graph)).toEqual([...(n % 2 === 1 ? ['Neg'] : []), 'Relu']);
    verify(graph);
  });
  test('a rule that claims a rewrite and changes nothing is QC1301', () => {
    const idle = rule('idle', op(Relu, 'r', {}), () => {});
    expect(errorOf(() => rewriteToFixpoint(negations(1), [idle]))?.message).toContain(
      'error QC1301: rule idle claimed a rewrite but changed nothing',
    );
  });
  test('rules that undo each other are QC1302', () => {
    const swap = rule('swap', op(Add, 'add', { a: any('a'), b: any('b') }), ({ add, a, b }, { graph }) => {
      graph.setInput(add.node, 0, b);
      graph.setInput(add.node, 1, a);
    });
    const graph = mlp();
    expect(errorOf(() => rewriteToFixpoint(graph, [swap], { limit: 25 }))?.message).toBe(
      '<text>:8:3: error QC1302: rules do not settle; the last was swap',
    );
  });
  test('a refusal is told, with the rule, the node and the value, and leaves the graph alone', () => {
    const graph = mlp();
    const picky = rule('picky', op(MatMul, 'mm', { a: any('x') }), ({ mm }) => refuse('not today', mm.a));
    const told: string[] = [];
    const before = graph.version;
    expect(
      rewriteToFixpoint(graph, [picky], {
        onRefusal: (name, node, why) => told.push(`${name} ${node.op} ${why.refused} %${why.value?.name}`),
      }).size,
    ).toBe(0);
    expect(told).toEqual(['picky MatMul not today %h']);
    expect(graph.version).toBe(before);
  });
  test('a reason of a state that a rule changed later is not told', () => {
    const graph = mlp();
    const told: string[] = [];
    const picky = rule('picky', op(MatMul, 'mm', { a: any('x') }), ({ x }) =>
      refuse(x.producer?.op === 'Identity' ? 'behind an Identity' : 'behind a norm'),
    );
    const insert = rule('insert', op(MatMul, 'mm', { a: any('x') }), ({ mm, x }, build) => {
      if (x.producer?.op === 'Identity') return 'no-match';
      build.graph.setInput(mm.node, 0, build.make(Identity, { input: x }, { like: x }).output);
    });
    rewriteToFixpoint(graph, [picky, insert], { onRefusal: (_, __, why) => told.push(why.refused) });
    expect(told).toEqual(['behind an Identity']);
  });
  test('the order of the rules is their priority', () => {
    const named = (name: string): RewriteRule =>
      rule(name, op(Relu, 'r', { x: any('x') }), ({ r, x }, build) =>
        build.graph.replace(r.y, build.make(Identity, { input: x }, { like: r.y }).output),
      );
    expect([...rewriteToFixpoint(negations(1), [named('first'), named('second')])]).toEqual([['first', 1]]);
  });
  test('what a rewrite leaves unread is gone, constants too', () => {
    const graph = mlp();
    rewriteToFixpoint(graph, [
      rule('drop-bias', op(Add, 'add', { a: any('x'), b: constant('k') }), ({ add, x }, build) => build.graph.replace(add.c, x)),
    ]);
    expect(opsOf(graph)).toEqual(['LayerNormalization', 'MatMul']);
    expect([...graph.constants].map((c) => c.name)).toEqual(['g', 'b', 'w']);
    expect(graph.outputs.map((o) => o.name)).toEqual(['s']);
  });
});

describe('views', () => {
  test('give attributes and defaults, and refuse what is of the wrong kind', () => {
    const graph = parseGraph(
      'graph @g(%x: f32[2]) { const %g: f32[2] = [1.0, 1.0] %a = LayerNormalization(%x, %g) %b = LayerNormalization(%x, %g) {axis = 1.5} %c = LayerNormalization(%x) return %a, %b, %c }',
    );
    const [a, b, c] = [...graph.nodes].map((n) => new LayerNormalization(n)) as [
      InstanceType<typeof LayerNormalization>,
      InstanceType<typeof LayerNormalization>,
      InstanceType<typeof LayerNormalization>,
    ];
    expect([a.axis, a.epsilon, a.b]).toEqual([-1, 0.00001, null]);
    expect(errorOf(() => b.axis)?.message).toContain("error QC1202: attribute 'axis' of LayerNormalization is not of kind int");
    expect(errorOf(() => c.scale)?.message).toContain('error QC1201: LayerNormalization lacks required operand 1');
  });
  test('of qc.Encode give its transform, which must have a size', () => {
    const graph = parseGraph(
      'graph @g(%x: f32[2]) { %a = qc.Encode(%x) {size = 2, perm = [1, 0], shift = f64[2] [0.5, 0.0]} %b = qc.Encode(%x) {perm = [1, 0]} return %a, %b }',
    );
    const [a, b] = [...graph.nodes].map((n) => new Encode(n)) as [Encode, Encode];
    expect(a.transform).toEqual({ size: 2, perm: Uint32Array.of(1, 0), scale: null, shift: Float64Array.of(0.5, 0) });
    expect(errorOf(() => b.transform)?.code).toBe('QC1202');
  });
  test('a builder names and types a result like a value', () => {
    const graph = mlp();
    const s = valueNamed(graph, 's');
    const made = Builder.before(s.producer!).make(Relu, { x: valueNamed(graph, 'p') }, { like: s });
    expect([made.y.name, made.y.type]).toEqual(['s_1', s.type]);
    expect(printGraph(graph)).toContain('%s_1: f32[N,2] = Relu(%p)\n  %s: f32[N,2] = Add');
  });
});
