import { afterAll, describe, expect, test } from '@jest/globals';
import { parseGraph, type Graph } from '../../ir/index.ts';
import { Ledger, PassManager, passes, refusalText } from '../../passes/index.ts';
import { inspect } from '../../src/inspect.ts';
import { fileSpool } from '../../src/runtime/spool.ts';
import { families, familyPath } from '../support/families.ts';
import { fixturePath, plainExecutor, type FixtureName, inMemory } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

async function ledgerOf(graph: Graph, pipeline: string): Promise<Ledger> {
  const ledger = new Ledger();
  const services = { executor, spool: fileSpool, store: inMemory, samples: null, mask: null, statistics: null };
  await new PassManager(passes).plan(pipeline, ['raised', 'folded']).run(graph, { services, contract: null, ledger });
  return ledger;
}

/** Heads of 2 x 4 channels as exporters write them; every line can be replaced. */
const spelling = {
  q: '%qh = Reshape(%x, %split) %q = Transpose(%qh) {perm = [0, 2, 1, 3]}',
  k: '%kh = Reshape(%x, %split) %k = Transpose(%kh) {perm = [0, 2, 3, 1]}',
  v: '%vh = Reshape(%x, %split) %v = Transpose(%vh) {perm = [0, 2, 1, 3]}',
  scores: '%s = MatMul(%q, %k)',
  softmax: '%p = Softmax(%s) {axis = -1}',
  context: '%c = MatMul(%p, %v)',
  merge: '%t = Transpose(%c) {perm = [0, 2, 1, 3]} %y = Reshape(%t, %join)',
} as const;
const spelled = (changed: Partial<Record<keyof typeof spelling, string>>): Graph =>
  parseGraph(`graph @g(%x: f32[2,3,8], %m: bool[2,2,3,3], %one: f32[2,3,4], %first: f32[1,3,8], %more: f32[5,1,1,3,3], %bias: f32[2,1,3,3]) {
    const %split: i64[4] = [0, 0, 2, 4] const %join: i64[3] = [0, 0, 8] const %low: f32[] = [-100.0] const %nought: f32[] = [0.0]
    const %single: i64[4] = [0, 0, 1, 4]
    ${Object.values({ ...spelling, ...changed }).join('\n')} return %y }`);

describe('an attention that is not recognised says why', () => {
  test('the spelling itself is recognised, and no reason is left', async () => {
    const ledger = await ledgerOf(spelled({}), 'raise,mark-sites');
    expect(ledger.entries).toMatchObject([{ kind: 'attention', left: [] }]);
    expect(ledger.refused).toEqual([]);
  });
  test.each([
    [
      'heads and their width are unknown in [2, 3, 8], at %x',
      {
        q: '',
        k: '%k = Transpose(%x) {perm = [0, 2, 1]}',
        v: '',
        scores: '%s = MatMul(%x, %k)',
        context: '%c = MatMul(%p, %x)',
        merge: '%y = Neg(%c)',
      },
    ],
    [
      'query, key and value have 2, 2 and 1 heads of 4 and 4 channels, at %k',
      { v: '%vh = Reshape(%one, %single) %v = Transpose(%vh) {perm = [0, 2, 1, 3]}' },
    ],
    [
      'query, key and value are of 2, 1 and 2 sequences, at %k',
      { k: '%kh = Reshape(%first, %split) %k = Transpose(%kh) {perm = [0, 2, 3, 1]}' },
    ],
    [
      'the scores come from a Where instead of a product of query and key, at %s',
      { scores: '%a = MatMul(%q, %k) %s = Where(%m, %a, %low)' },
    ],
    ['the scores are [2, 2, 3, 3], and [5, 2, 2, 3, 3] with the mask, at %p', { scores: '%a = MatMul(%q, %k) %s = Add(%a, %more)' }],
    [
      'a softmax that gives 0 for NaN has a mask that is neither bool nor known to be finite, at %z',
      {
        scores: '%a = MatMul(%q, %k) %z = Exp(%bias) %s = Add(%a, %z)',
        softmax: '%p = Softmax(%s) {axis = -1} %n = IsNaN(%p) %w = Where(%n, %nought, %p)',
        context: '%c = MatMul(%w, %v)',
      },
    ],
    [
      'the softmax feeds a Where instead of one product with the values, at %p',
      { softmax: '%p = Softmax(%s) {axis = -1} %z = Where(%m, %p, %low)', context: '%c = MatMul(%z, %v)' },
    ],
  ] as const)('%s', async (why, changed) => {
    const ledger = await ledgerOf(spelled(changed), 'raise,mark-sites');
    const [entry] = ledger.entries.filter((e) => e.kind === 'attention');
    expect(entry).toMatchObject({ done: [], left: [`not recognised as attention: ${why}`] });
    expect(ledger.refused.map(refusalText)).toContain(why);
  });
  test('nothing is known of a graph that was raised elsewhere', async () => {
    const ledger = await ledgerOf(spelled({ merge: '%y = Identity(%c)' }), 'mark-sites');
    expect(ledger.entries).toMatchObject([{ left: ['not recognised as attention: the spelling is unknown'] }]);
  });
  test('the last run of raise has the last word', async () => {
    const ledger = new Ledger();
    ledger.refuse('raise', [{ node: 'p', op: 'Softmax', rule: 'raise-attention', why: 'old', value: null }]);
    ledger.refuse('raise', []);
    expect(ledger.refusalAt('p')).toBeNull();
  });
});

/** A norm over 8 channels in parts, which no rule knows; every line can be replaced. */
const normSpelling = {
  mean: '%mean = ReduceMean(%x, %last)',
  centred: '%d = Sub(%x, %mean)',
  square: '%sq = Mul(%d, %d)',
  variance: '%var = ReduceMean(%sq, %last)',
  sum: '%sum = Add(%var, %eps)',
  root: '%root = Sqrt(%sum)',
  quotient: '%n = Div(%d, %root)',
  scaled: '%s = Mul(%n, %g)',
  biased: '%y = Add(%s, %b)',
} as const;
const normOf = (changed: Partial<Record<keyof typeof normSpelling, string>>): Graph =>
  parseGraph(`graph @g(%x: f32[2,3,8]) {
    const %g: f32[8] = random 1 const %b: f32[8] = random 2 const %last: i64[1] = [-1] const %first: i64[1] = [0]
    const %two: f32[] = [2.0] const %three: f32[] = [3.0] const %half: f32[] = [0.5] const %one: f32[] = [1.0] const %eps: f32[] = [0.001]
    ${Object.values({ ...normSpelling, ...changed }).join('\n')} return %y }`);

describe('a norm that is not recognised says why', () => {
  test.each([
    ['the spelling is unknown, at %s', {}],
    ['the centred values feed a Relu and no square, at %d', { square: '%sq = Relu(%d)', quotient: '%n = Div(%x, %root)' }],
    ['the squares of the centred values have no mean over the last axis, at %sq', { variance: '%var = ReduceMean(%sq, %first)' }],
    ['the mean of squares feeds a Pow instead of one Sqrt, at %sum', { root: '%root = Pow(%sum, %half)' }],
    ['the spelling is unknown, at %s', { quotient: '%i = Reciprocal(%root) %n = Mul(%d, %i)' }],
    ['the spelling is unknown, at %s', { quotient: '%i = Div(%one, %root) %n = Mul(%i, %d)' }],
    ['the root of the mean feeds a Neg instead of one division, at %i', { quotient: '%i = Reciprocal(%root) %n = Neg(%i)' }],
    ['the root of the mean feeds a Mul instead of one division, at %root', { quotient: '%n = Mul(%d, %root)' }],
    ['what the root divides is not what was squared, at %x', { quotient: '%n = Div(%x, %root)' }],
    ['the quotient feeds a Mul instead of one product with a constant gain, at %n', { scaled: '%s = Mul(%n, %x)' }],
    ['the quotient feeds an Add instead of one product with a constant gain, at %n', { scaled: '%s = Add(%n, %b)' }],
  ] as const)('%s', async (why, changed) => {
    const ledger = await ledgerOf(normOf(changed), 'raise,mark-sites');
    expect(ledger.refused.map(refusalText)).toEqual([why]);
    expect(ledger.entries).toMatchObject([{ kind: 'norm', done: [], left: [`not recognised as norm: ${why}`] }]);
  });
  test('also where its mean is not taken off', async () => {
    const rms = { mean: '', centred: '', square: '%sq = Pow(%x, %two)', quotient: '%n = Mul(%x, %root)', biased: '%y = Neg(%s)' };
    const [refused] = (await ledgerOf(normOf(rms), 'raise')).refused;
    expect(refused).toEqual({
      node: 'var',
      op: 'ReduceMean',
      rule: 'raise-norm',
      why: 'the root of the mean feeds a Mul instead of one division',
      value: 'root',
      about: 'norm',
    });
  });
  test('a rule that knows its shape has the only word', async () => {
    const ledger = await ledgerOf(normOf({ square: '%sq = Pow(%d, %three)' }), 'raise,mark-sites');
    expect(ledger.refused).toMatchObject([{ node: 'y', rule: 'raise-layer-norm', why: 'the power is not 2', value: 'three' }]);
    expect(ledger.entries).toMatchObject([{ kind: 'norm', left: ['not recognised as norm: the power is not 2, at %three'] }]);
    const epsilon = await ledgerOf(normOf({ square: '%sq = Pow(%d, %two)', sum: '%sum = Add(%var, %g)' }), 'raise');
    expect(epsilon.refused).toMatchObject([{ rule: 'raise-layer-norm', why: 'epsilon is not a number' }]);
  });
  test('what is raised leaves no reason, nor does a mean that is part of no norm', async () => {
    const twice = { centred: '%d = Sub(%x, %mean) %e = Sub(%x, %mean)', square: '%sq = Pow(%e, %two)' };
    const ledger = await ledgerOf(normOf(twice), 'raise,mark-sites');
    expect(ledger.entries).toMatchObject([{ kind: 'norm', name: 'y', left: [] }]);
    expect(ledger.refused).toEqual([]);
    const pooled = parseGraph('graph @g(%x: f32[2,8]) { const %last: i64[1] = [-1] %m = ReduceMean(%x, %last) %y = Relu(%m) return %y }');
    expect((await ledgerOf(pooled, 'raise,mark-sites')).refused).toEqual([]);
  });
});

describe('other rules say why', () => {
  const gelu = (root: string, half: string): Graph =>
    parseGraph(`graph @g(%x: f32[2,8]) { const %root: f32[] = [${root}] const %one: f32[] = [1.0] const %half: f32[] = [${half}]
      %d = Div(%x, %root) %e = Erf(%d) %s = Add(%e, %one) %p = Mul(%x, %s) %y = Mul(%p, %half) return %y }`);
  test('a GELU names the constant that is not its own', async () => {
    const ledger = await ledgerOf(gelu('1.4142135', '0.25'), 'raise');
    expect(ledger.refused).toEqual([{ node: 'y', op: 'Mul', rule: 'raise-gelu-erf', why: 'a constant of GELU is not 0.5', value: 'half' }]);
    expect((await ledgerOf(gelu('1.4142135', '0.5'), 'raise')).refused).toEqual([]);
  });
  /** A norm of root mean square; every line can be replaced. */
  const norm = {
    type: 'f32[2,3,4]',
    mean: '%p = Pow(%x, %two) %m = ReduceMean(%p, %axis)',
    root: '%s = Add(%m, %eps) %r = Sqrt(%s)',
    inverse: '%i = Div(%one, %r)',
    scaled: '%n = Mul(%x, %i) %y = Mul(%n, %g)',
  } as const;
  const normed = (changed: Partial<Record<keyof typeof norm, string>>): Graph => {
    const { type, ...lines } = { ...norm, ...changed };
    return parseGraph(`graph @g(%x: ${type}, %w: f32[4]) {
      const %two: f32[] = [2.0] const %one: f32[] = [1.0] const %eps: f32[] = [0.25] const %axis: i64[1] = [-1] const %first: i64[1] = [0]
      const %g: f32[4] = random 1 const %row: f32[1,4] = random 1 const %few: f32[3,1] = random 1
      ${Object.values(lines).join('\n')} return %y }`);
  };
  test('a norm of root mean square is recognised, and no reason is left', async () => {
    const graph = normed({});
    expect((await ledgerOf(graph, 'raise')).refused).toEqual([]);
    expect([...graph.nodes].map((n) => n.op)).toEqual(['RMSNormalization']);
  });
  test.each<readonly [why: string, changed: Parameters<typeof normed>[0]]>([
    ['the power is not 2, at %one', { mean: '%p = Pow(%x, %one) %m = ReduceMean(%p, %axis)' }],
    ['the root divides a number other than 1, at %two', { inverse: '%i = Div(%two, %r)' }],
    ['the mean is not over the last axis, at %m', { mean: '%p = Pow(%x, %two) %m = ReduceMean(%p, %first)' }],
    ['the mean drops its axis, at %m', { mean: '%p = Pow(%x, %two) %m = ReduceMean(%p, %axis) {keepdims = 0}', type: 'f32[4,4]' }],
    ['epsilon is not a number, at %few', { root: '%s = Add(%m, %few) %r = Sqrt(%s)', type: 'f32[3,4]' }],
    ['it computes in f64 instead of f32, at %x', { type: 'f64[2,3,4]' }],
    ['the number of channels is unknown, at %x', { type: 'f32[2,3,C]' }],
    ['the gain is not one number for each channel, at %row', { scaled: '%n = Mul(%x, %i) %y = Mul(%n, %row)' }],
    ['the gain is not one number for each channel, at %w', { scaled: '%n = Mul(%x, %i) %y = Mul(%n, %w)' }],
    ['the gain is not one number for each channel, at %g', { type: 'f32[2,3,1]' }],
    [
      'it is a LayerNormalization without a constant bias, at %y',
      {
        mean: '%a = ReduceMean(%x, %axis) %c = Sub(%x, %a) %p = Pow(%c, %two) %m = ReduceMean(%p, %axis)',
        scaled: '%n = Mul(%c, %i) %y = Mul(%n, %g)',
      },
    ],
  ])('a norm of root mean square is left: %s', async (why, changed) => {
    const graph = normed(changed);
    expect((await ledgerOf(graph, 'raise')).refused.filter((r) => r.about === 'norm').map(refusalText)).toEqual([why]);
    expect([...graph.nodes].map((n) => n.op)).not.toContain('RMSNormalization');
  });
  /** Heads that turn by halves; every line can be replaced. */
  const rotation = {
    x: '%x: f32[1,2,3,4]',
    table: '%t = Concat(%a, %a) {axis = -1}',
    parts: '%low = Slice(%x, %zero, %two, %last) %high = Slice(%x, %two, %four, %last)',
    turned: '%m = Neg(%high) %u = Concat(%m, %low) {axis = -1}',
    tables: '%c = Cos(%t) %s = Sin(%t) %cos = Unsqueeze(%c, %one) %sin = Unsqueeze(%s, %one)',
    sum: '%p = Mul(%x, %cos) %q = Mul(%u, %sin) %y = Add(%p, %q)',
  } as const;
  const rotated = (changed: Partial<Record<keyof typeof rotation, string>>): Graph => {
    const { x, ...lines } = { ...rotation, ...changed };
    return parseGraph(`graph @g(${x}, %a: f32[1,3,2], %b: f32[1,3,2], %n: i64[1]) {
      const %zero: i64[1] = [0] const %one: i64[1] = [1] const %two: i64[1] = [2] const %four: i64[1] = [4] const %last: i64[1] = [-1]
      ${Object.values(lines).join('\n')} return %y }`);
  };
  test.each<readonly [how: string, changed: Parameters<typeof rotated>[0]]>([
    ['as it is', {}],
    ['with its halves from a Split', { parts: '%low, %high = Split(%x) {axis = -1, num_outputs = 2}' }],
    ['with all operands exchanged', { sum: '%p = Mul(%cos, %x) %q = Mul(%sin, %u) %y = Add(%q, %p)' }],
    ['with angles that are scaled', { table: 'const %k: f32[] = [2.5] %d = Concat(%a, %a) {axis = 2} %t = Mul(%k, %d)' }],
  ])('a rotary embedding is recognised, %s', async (_, changed) => {
    const graph = rotated(changed);
    expect((await ledgerOf(graph, 'raise')).refused).toEqual([]);
    expect([...graph.nodes].map((n) => n.op).filter((o) => o !== 'Mul')).toEqual(['Cos', 'Sin', 'RotaryEmbedding']);
  });
  test.each<readonly [why: string, changed: Parameters<typeof rotated>[0]]>([
    ['what is rotated is not known to have heads, at %x', { x: '%x: f32[3,4]' }],
    ['what is rotated is not known to have heads, at %x', { x: '%x: f32[1,2,3,W]' }],
    [
      'what is turned is not known to be the two halves of a head, at %u',
      { parts: '%high = Slice(%x, %zero, %two, %last) %low = Slice(%x, %two, %four, %last)' },
    ],
    [
      'what is turned is not known to be the two halves of a head, at %u',
      { parts: '%low = Slice(%x, %zero, %n, %last) %high = Slice(%x, %n, %four, %last)' },
    ],
    [
      'what is turned is not known to be the two halves of a head, at %u',
      { parts: '%low = Slice(%x, %zero, %four, %last, %two) %high = Slice(%x, %two, %four, %last)' },
    ],
    ['the angles are not known to be the same for both halves of a head, at %cos', { table: '%t = Concat(%a, %b) {axis = -1}' }],
    [
      'the angles are not known to be the same for both halves of a head, at %sin',
      { tables: '%c = Cos(%t) %cos = Unsqueeze(%c, %one) %sin = Sin(%cos)' },
    ],
    ['there are angles for more tokens than are rotated, at %x', { x: '%x: f32[1,2,1,4]' }],
    ['it has another element type than the angles, at %x', { x: '%x: f16[1,2,3,4]' }],
  ])('a rotary embedding is left: %s', async (why, changed) => {
    const graph = rotated(changed);
    expect((await ledgerOf(graph, 'raise')).refused.filter((r) => r.rule === 'raise-rotary-embedding').map(refusalText)).toEqual([why]);
    expect([...graph.nodes].map((n) => n.op)).not.toContain('RotaryEmbedding');
  });
  test('a product that is no linear has the reason of its rule in the ledger', async () => {
    const graph = parseGraph('graph @g(%x: f32[2,3,8]) { const %w: f32[2,8,4] = random 3 %y = MatMul(%x, %w) return %y }');
    expect((await ledgerOf(graph, 'raise,mark-sites')).entries).toMatchObject([
      { left: ['its weight is not one matrix: its weight is a batch of matrices, f32[2,8,4], at %w'] },
    ]);
  });
});

describe('folding says who refused', () => {
  const at = (above: string, below: string, attributes: string): Graph =>
    parseGraph(`graph @g(%x: f32[N,2]) { const %g: f32[2] = [1.0, 2.0] const %w: f32[2,2] = random 1
      %h = ${above} %t = qc.Encode(%h) {size = 2, ${attributes}} %s = qc.Site(%t) ${below} return %y }`);
  const product = '%y = MatMul(%s, %w)';
  test.each([
    ['a norm takes no order', at('RMSNormalization(%x, %g)', product, 'perm = [1, 0]'), 'RMSNormalization %h takes no order, at %h'],
    [
      'a norm without a bias',
      at('RMSNormalization(%x, %g)', product, 'shift = f64[2] [1.5, 0.0]'),
      'RMSNormalization %h takes no shift, at %h',
    ],
    [
      'an operator without a record',
      at('Softmax(%x)', product, 'perm = [1, 0]'),
      'Softmax %h takes no change of its channels as it stands here, at %h',
    ],
    [
      'a reader without a record',
      at('MatMul(%x, %w)', '%d = qc.Decode(%s) {size = 2, perm = [1, 0]} %y = Softmax(%d)', 'perm = [1, 0]'),
      'Softmax %y takes no change of its channels as it stands here, at %d',
    ],
    [
      'an output',
      at('MatMul(%x, %w)', '%y = qc.Decode(%s) {size = 2, perm = [1, 0]}', 'perm = [1, 0]'),
      '%y is an output of the graph, at %y',
    ],
  ])('%s', async (_, graph, why) => {
    const ledger = await ledgerOf(graph, 'fold-channels');
    expect(ledger.refused.map(refusalText)).toEqual([why]);
  });
  test('what folds away leaves no reason', async () => {
    const graph = at('RMSNormalization(%x, %g)', product, 'scale = f64[2] [2.5, 3.0]');
    expect((await ledgerOf(graph, 'fold-channels')).refused).toEqual([]);
  });
  test.each([
    ['RMSNormalization(%x, %g)', 'scale = f64[2] [2.5, 3.0]', 'took scale'],
    ['LayerNormalization(%x, %g, %g)', 'scale = f64[2] [2.5, 3.0], shift = f64[2] [1.5, 0.0]', 'took scale and shift'],
  ])('what %s takes is in the ledger', async (norm, map, took) =>
    expect((await ledgerOf(at(norm, product, map), 'fold-channels')).entries).toMatchObject([{ kind: 'norm', done: [took] }]),
  );
});

describe('inspect with why', () => {
  const reasons = async (path: string): Promise<readonly string[]> => [
    ...new Set((await inspect(path, { why: true })).refused!.map((r) => `${r.op} ${r.rule}: ${r.why}`)),
  ];
  test.each<[FixtureName, readonly string[]]>([
    ['opt-tiny-op13', []],
    ['bert-tiny-op17', []],
    ['bert-tiny-sdpa-op17', []],
    ['gpt2-tiny-op17', []],
  ])('%s', async (name, expected) => expect(await reasons(fixturePath(name))).toEqual(expected));
  test('is silent unless it is asked', async () => expect(await inspect(fixturePath('gpt2-tiny-op17'))).not.toHaveProperty('refused'));
});

describe('graphs of other families', () => {
  test('attentions that are not recognised have a reason with a value, but for those in the body of an If', async () => {
    let [softmaxes, explained] = [0, 0];
    for (const name of families.filter((name) => /-(ts17e?|dyn18|optimum.*)$/.test(name))) {
      const { recognised, refused, operators } = await inspect(familyPath(name), { why: true });
      if (!recognised || operators['If'] !== undefined) continue;
      softmaxes += (operators['Softmax'] ?? 0) + (operators['Attention'] ?? 0) - recognised.attentions;
      explained += refused!.filter((r) => r.rule === 'raise-attention' && r.value !== null).length;
    }
    expect(softmaxes).toBeGreaterThan(0);
    expect(explained).toBe(softmaxes);
  });
});
