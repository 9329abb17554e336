import { afterAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { lowerTo, roundingHalves, settleOpset, targetNamed, targets, type Lowering } from '../../codegen/index.ts';
import { floatsFromHalf, halfFromFloat } from '../../ir/float16.ts';
import { cloneGraph, parseGraph, printGraph, verify, type Graph } from '../../ir/index.ts';
import { largestDifference, runOnce, type Feeds } from '../../passes/index.ts';
import { elements, f32, i64, numbers, opsOf, plainExecutor, fusingExecutor, randomFeed, valueNamed } from '../support/run.ts';

const executor = plainExecutor();
const fusing = fusingExecutor();
afterAll(() => Promise.all([executor.close(), fusing.close()]));

/** Of a graph without quantizers, this target converts floats and does nothing else. */
const target = targetNamed(targets, 'ort-cuda');

function halved(source: string | Graph): Lowering & { readonly graph: Graph } {
  const graph = typeof source === 'string' ? parseGraph(source) : cloneGraph(source);
  const lowering = lowerTo(target, graph);
  settleOpset(graph);
  verify(graph);
  return { ...lowering, graph };
}

/** The outputs with the rounding of f16 after every operator; that ONNX Runtime loads it with its own rewriting is checked too. */
async function outputsOf(graph: Graph, feeds: Feeds): Promise<Feeds> {
  await runOnce(fusing, graph, feeds);
  return runOnce(executor, roundingHalves(graph), feeds);
}

async function difference(source: string, feeds: Feeds): Promise<number> {
  return largestDifference(await runOnce(executor, parseGraph(source), feeds), await outputsOf(halved(source).graph, feeds));
}

const typeOf = (graph: Graph, name: string): string | undefined => valueNamed(graph, name).type?.dtype;
const typesOf = (graph: Graph, names: string): string =>
  names
    .split(' ')
    .map((n) => typeOf(graph, n))
    .join(' ');

test('roundingHalves rounds every f16 result as f16 does', async () => {
  const special = [Infinity, -Infinity, NaN, 65519, 65520, -65520, 0, 2049, 2051, 2 ** -24, 1.49 * 2 ** -24, 2 ** -25, 2 ** -14];
  const spread = numbers(2000, 7).map((x, i) => x * 2 ** ((i % 44) - 27));
  const x = Float32Array.from([...special, ...spread]);
  const source = `graph @g(%x: f32[N]) {
    const %one: f16[] = [1.0]
    %h: f16[N] = Cast(%x) {to = 10} %p: f16[N] = Mul(%h, %one) %y: f32[N] = Cast(%p) {to = 1} return %y }`;
  const y = elements(await runOnce(executor, roundingHalves(parseGraph(source)), { x: f32([x.length], x) }), 'y');
  expect(Array.from(y, (v) => v + 0)).toEqual(Array.from(floatsFromHalf(Uint16Array.from(x, halfFromFloat)), (v) => v + 0));
});

/** A decoder of the LLaMA family as PyTorch writes it: root mean square in parts, rotary angles, a causal mask, a gate, a tied head. */
const llama = `graph @llama(%input_ids: i64[1,S], %attention_mask: i64[1,S]) {
  const %table: f32[16,16] = random 1
  const %g: f32[16] = splat 0.5
  const %wq: f32[16,16] = random 2
  const %wk: f32[16,16] = random 3
  const %wv: f32[16,16] = random 4
  const %wo: f32[16,16] = random 5
  const %wg: f32[16,24] = random 6
  const %wu: f32[16,24] = random 7
  const %wd: f32[24,16] = random 8
  const %inv: f32[1,4,1] = [1.0, 0.1, 0.01, 0.001]
  const %two: f32[] = [2.0]
  const %eps: f32[] = [1.0e-6]
  const %third: f32[] = [0.35]
  const %least: f32[] = [-3.4028234663852886e38]
  const %nought: f32[] = [0.0]
  const %zero: i64[] = [0]
  const %one: i64[] = [1]
  const %last: i64[1] = [-1]
  const %middle: i64[2] = [1, 2]
  const %heads: i64[4] = [1, -1, 2, 8]
  const %merged: i64[3] = [1, -1, 16]
  const %i0: i64[1] = [0]
  const %i1: i64[1] = [1]
  const %i3: i64[1] = [3]
  const %i4: i64[1] = [4]
  const %i8: i64[1] = [8]
  %x = Gather(%table, %input_ids) {axis = 0}
  %square = Pow(%x, %two)
  %mean = ReduceMean(%square, %last)
  %raised = Add(%mean, %eps)
  %root = Sqrt(%raised)
  %inverse = Reciprocal(%root)
  %scaled = Mul(%x, %inverse)
  %norm = Mul(%scaled, %g)
  %q0 = MatMul(%norm, %wq)
  %k0 = MatMul(%norm, %wk)
  %v0 = MatMul(%norm, %wv)
  %q1 = Reshape(%q0, %heads)
  %k1 = Reshape(%k0, %heads)
  %v1 = Reshape(%v0, %heads)
  %q = Transpose(%q1) {perm = [0, 2, 1, 3]}
  %k = Transpose(%k1) {perm = [0, 2, 1, 3]}
  %v = Transpose(%v1) {perm = [0, 2, 1, 3]}
  %shape = Shape(%input_ids) {start = 1, end = 2}
  %length = Squeeze(%shape)
  %positions = Range(%zero, %length, %one)
  %row = Unsqueeze(%positions, %i0)
  %rows = Unsqueeze(%row, %i1)
  %places = Cast(%rows) {to = 1}
  %angles = MatMul(%inv, %places)
  %turned = Transpose(%angles) {perm = [0, 2, 1]}
  %both = Concat(%turned, %turned) {axis = -1}
  %cos0 = Cos(%both)
  %sin0 = Sin(%both)
  %cos = Unsqueeze(%cos0, %i1)
  %sin = Unsqueeze(%sin0, %i1)
  %qa = Slice(%q, %i0, %i4, %i3)
  %qb = Slice(%q, %i4, %i8, %i3)
  %qn = Neg(%qb)
  %qr = Concat(%qn, %qa) {axis = -1}
  %qc = Mul(%q, %cos)
  %qs = Mul(%qr, %sin)
  %query = Add(%qc, %qs)
  %kt = Transpose(%k) {perm = [0, 1, 3, 2]}
  %raw = MatMul(%query, %kt)
  %scores = Mul(%raw, %third)
  %column = Unsqueeze(%positions, %i1)
  %causal = LessOrEqual(%row, %column)
  %keep0 = Cast(%attention_mask) {to = 9}
  %keep = Unsqueeze(%keep0, %middle)
  %seen = And(%causal, %keep)
  %mask = Where(%seen, %nought, %least)
  %masked = Add(%scores, %mask)
  %probabilities = Softmax(%masked) {axis = -1}
  %context = MatMul(%probabilities, %v)
  %c1 = Transpose(%context) {perm = [0, 2, 1, 3]}
  %c2 = Reshape(%c1, %merged)
  %o = MatMul(%c2, %wo)
  %h = Add(%x, %o)
  %up = MatMul(%h, %wu)
  %gate = MatMul(%h, %wg)
  %opened = Sigmoid(%gate)
  %silu = Mul(%gate, %opened)
  %inner = Mul(%silu, %up)
  %down = MatMul(%inner, %wd)
  %y = Add(%h, %down)
  %head = Transpose(%table) {perm = [1, 0]}
  %logits = MatMul(%y, %head)
  return %logits
}`;
const decoderFeeds: Feeds = { input_ids: i64([1, 6], [3, 1, 4, 1, 5, 9]), attention_mask: i64([1, 6], [0, 1, 1, 1, 1, 1]) };

describe('a decoder', () => {
  const { graph } = halved(llama);
  test('computes in f16 what it computed in f32, and its first row, which sees nothing, stays finite', async () => {
    expect(await difference(llama, decoderFeeds)).toBeLessThan(5e-3);
    expect(elements(await outputsOf(graph, decoderFeeds), 'logits').every(Number.isFinite)).toBe(true);
  });
  test('has products, the residual stream and what lies between them in f16', () =>
    expect(typesOf(graph, 'x q0 q1 q qa qr qc qs query raw scores v context o h up gate opened silu inner down y')).toMatch(/^(f16 ?)+$/));
  test('has statistics, softmax, masks, positions and angles in f32, and gives f32', () =>
    expect(typesOf(graph, 'square mean raised root inverse scaled places angles both cos0 sin mask masked probabilities logits')).toMatch(
      /^(f32 ?)+$/,
    ));
  test('has weights in f16, once, under their names', () => {
    const stored = [...graph.constants].filter((c) => c.type!.shape!.length === 2).map((c) => `${c.name} ${c.type!.dtype}`);
    expect(stored.sort()).toEqual(['table', 'wd', 'wg', 'wk', 'wo', 'wq', 'wu', 'wv'].map((name) => `${name} f16`));
  });
  test('casts each value once', () => {
    const casts = [...graph.nodes]
      .filter((n) => n.op === 'Cast')
      .map((n) => `${n.input(0)!.name} ${Number((n.attributes.get('to') as { value: bigint }).value)}`);
    expect(casts.sort()).toEqual([
      'attention_mask 9',
      'cos 10',
      'logits_1 1',
      'norm 10',
      'probabilities 10',
      'rows 1',
      'scores 1',
      'sin 10',
      'x 1',
    ]);
  });
});

describe('what f16 does not hold', () => {
  const x = (...values: readonly number[]): Feeds => ({ x: f32([1, values.length], values) });
  test('float inputs are cut to it', async () => {
    const { graph } = halved(`graph @g(%x: f32[1,3]) { %y = Relu(%x) return %y }`);
    expect(elements(await outputsOf(graph, x(1e9, -1, 70_000)), 'y')).toEqual(Float32Array.of(65504, 0, 65504));
  });
  test('a weight beyond it stays f32, and so does its product, with a warning', async () => {
    const source = `graph @g(%x: f32[1,3]) {
      const %w: f32[3,2] = [1.0, 2.0, 3.0, 4.0, 100000.0, 6.0] const %b: f32[2] = [1.0, -70000.0]
      %m = MatMul(%x, %w) %y = Add(%m, %b) %z = Tanh(%y) return %y, %z }`;
    const { graph, diagnostics } = halved(source);
    expect(diagnostics.map((d) => [d.code, d.message])).toEqual([
      ['QC4003', '%w has elements beyond 65504: it stays in f32, and so does MatMul, which reads it'],
      ['QC4003', '%b has elements beyond 65504: it stays in f32, and so does Add, which reads it'],
    ]);
    expect(typesOf(graph, 'w b m y')).toBe('f32 f32 f32 f32');
    expect(await difference(source, x(1, 1.5, 2))).toBeLessThan(1e-3);
  });
  test('a transposed weight beyond it too', async () => {
    const source = `graph @g(%x: f32[1,3]) {
      const %w: f32[2,3] = [1.0, 2.0, 3.0, 4.0, 100000.0, 6.0] %t = Transpose(%w) %y = MatMul(%x, %t) return %y }`;
    expect(typeOf(halved(source).graph, 'y')).toBe('f32');
    expect(await difference(source, x(1, 1.5, 2))).toBeLessThan(1e-3);
  });
  test('masks of Attention are cut to it', async () => {
    const source = `graph @g(%x: f32[1,3,8], %keep: i64[1,3]) {
      const %least: f32[] = [-3.4028234663852886e38] const %one: f32[] = [1.0] const %axes: i64[2] = [1, 2]
      const %first: i64[4] = [0, 1, 2, 3] const %square: i64[4] = [1, 1, 3, 3]
      %k = Cast(%keep) {to = 1} %gone = Sub(%one, %k) %low = Mul(%gone, %least) %row = Unsqueeze(%low, %axes) %mask = Expand(%row, %square)
      %h = Gather(%x, %first) {axis = -1}
      %y: f32[1,3,8] = Attention(%x, %h, %h, %mask) {q_num_heads = 2, kv_num_heads = 1} return %y }`;
    const { graph } = halved(source);
    expect(opsOf(graph)).toContain('Attention');
    expect(opsOf(graph)).toContain('Clip');
    for (const keep of [i64([1, 3], [1, 1, 0]), i64([1, 3], [0, 0, 0])]) {
      const feeds = { x: randomFeed([1, 3, 8], 3), keep };
      const before = await runOnce(executor, parseGraph(source), feeds);
      expect(largestDifference(before, await outputsOf(graph, feeds))).toBeLessThan(5e-3);
    }
  });
  test('squares of a norm in parts are summed in f32, and an epsilon that f16 rounds to nothing keeps rows of zeros from NaN', async () => {
    const source = `graph @g(%x: f32[2,4]) {
      const %eps: f32[] = [1.0e-12] const %axis: i64[1] = [-1]
      %s = Mul(%x, %x) %m = ReduceMean(%s, %axis) %e = Add(%m, %eps) %r = Sqrt(%e) %y = Div(%x, %r) return %y }`;
    expect(await difference(source, { x: f32([2, 4], [3000, -2000, 500, 900, 0, 0, 0, 0]) })).toBeLessThan(1e-3);
  });
  test('numbers that meet a weight are activations: pixels', async () => {
    const source = `graph @g(%x: u8[1,4]) {
      const %w: f32[4,4] = random 3 const %g: f32[4] = random 4 const %all: f32[] = [255.0]
      %f = Cast(%x) {to = 1} %p = Div(%f, %all) %m = MatMul(%p, %w) %y = LayerNormalization(%m, %g) return %y }`;
    expect(typesOf(halved(source).graph, 'f p m y')).toBe('f32 f32 f16 f32');
    expect(await difference(source, { x: { dtype: 'u8', shape: [1, 4], data: Uint8Array.of(0, 9, 200, 255) } })).toBeLessThan(2e-2);
  });
  test('positions beyond 2048 are exact', async () => {
    const source = `graph @g(%p: i64[1,3]) {
      const %f: f32[] = [0.5] %c = Cast(%p) {to = 1} %a = Mul(%c, %f) %s = Sin(%a) %i = Cast(%a) {to = 7} return %s, %i }`;
    expect(await difference(source, { p: i64([1, 3], [4099, 8191, 40_002]) })).toBe(0);
  });
});

describe('what is left as it is', () => {
  const half = `graph @half(%x: f16[1,3,8]) {
  const %w: f16[8,8] = random 3
  const %g: f16[8] = random 4
  const %wide: f32[8] = random 5
  %h: f16[1,3,8] = LayerNormalization(%x, %g)
  %m: f16[1,3,8] = MatMul(%h, %w)
  %p: f16[1,3,8] = Softmax(%m)
  %u: f32[1,3,8] = Cast(%p) {to = 1}
  %n: f32[1,3,8] = LayerNormalization(%u, %wide)
  %s: f32[1,3,8] = Mul(%n, %n)
  %d: f16[1,3,8] = Cast(%s) {to = 10}
  %y: f16[1,3,8] = Add(%d, %x)
  return %y, %u
}`;
  test('a model in f16, with what it computes in f32 between its own Casts', () => {
    const bare = (graph: Graph): string => printGraph(graph).replace(/ opset onnx \d+/, '');
    expect(bare(halved(half).graph)).toBe(bare(parseGraph(half)));
  });
  test('graphs inside the graph, which read f32 from around them, with a warning', async () => {
    const source = `graph @g(%x: f32[1,4], %c: bool[]) {
      const %w: f32[4,4] = random 3
      %h = MatMul(%x, %w)
      %r: f32[1,4] = If(%c) {
        else_branch = graph @b() { %e: f32[1,4] = Exp(%h) return %e },
        then_branch = graph @a() { %t: f32[1,4] = Add(%h, %h) return %t }
      }
      %y = MatMul(%r, %w)
      return %y
    }`;
    const { graph, diagnostics } = halved(source);
    expect(diagnostics.map((d) => d.code)).toEqual(['QC4004']);
    expect(typesOf(graph, 'h r')).toBe('f16 f32');
    for (const flag of [0, 1]) {
      const feeds: Feeds = { x: randomFeed([1, 4], 3), c: { dtype: 'bool', shape: [], data: Uint8Array.of(flag) } };
      expect(await difference(source, feeds)).toBeLessThan(5e-3);
    }
  });
  test('operators that nobody knows get f32', () => {
    const { graph } = halved(`graph @g(%x: f32[1,4]) {
      const %w: f32[4,4] = random 3
      %h = MatMul(%x, %w) %o: f32[1,4] = com.example.Odd(%h) %p = com.example.Odd(%o) %s = Add(%p, %h) %z: f32[1,4] = com.example.Odd(%s)
      %y = MatMul(%z, %w) return %y }`);
    expect(typesOf(graph, 'h o z y')).toBe('f16 f32 f32 f32');
    const read = [...graph.nodes].filter((n) => n.op.startsWith('com.example')).map((n) => n.input(0)!.type?.dtype ?? 'unknown');
    expect(read).toEqual(['f32', 'f32', 'unknown']);
    expect([...graph.nodes].find((n) => n.op === 'Add')!.input(1)!.type?.dtype).toBe('f32');
  });
});

/** A step of a random graph: text that makes %N from earlier values of [2,8]. */
const steps: readonly string[] = [
  '%N = Add(%A, %B)',
  '%N = Sub(%A, %B)',
  '%N = Mul(%A, %c8)',
  '%t_N = Tanh(%A) %N = Mul(%t_N, %B)',
  '%N = Relu(%A)',
  '%N = Gelu(%A)',
  '%s_N = Sigmoid(%A) %N = Mul(%A, %s_N)',
  '%N = Softmax(%A) {axis = -1}',
  // An epsilon as large as that, lest a row of nothing but rounding is blown up.
  '%N = LayerNormalization(%A, %c8) {axis = -1, epsilon = 0.1}',
  '%N = MatMul(%A, %w)',
  '%N = Max(%A, %B)',
  '%N = Where(%flags, %A, %B)',
  '%N = Where(%flags, %A, %nought)',
  '%t_N = Tanh(%A) %N = Exp(%t_N)',
  '%m_N = ReduceMean(%A, %axis) %N = Sub(%A, %m_N)',
  '%a_N = Abs(%B) %p_N = Add(%a_N, %one) %N = Div(%A, %p_N)',
  '%t_N = Transpose(%A) %N = Transpose(%t_N)',
  '%t_N = Transpose(%w) %N = MatMul(%A, %t_N)',
  '%t_N = Concat(%A, %B) {axis = 0} %N = Slice(%t_N, %from, %to, %first)',
  '%f_N = Cast(%ids) {to = 1} %N = Add(%A, %f_N)',
  '%N = Gather(%table, %ids1) {axis = 0}',
  '%l_N = Where(%flags, %nought, %least) %b_N = Add(%A, %l_N) %N = Softmax(%b_N) {axis = -1}',
  '%f_N = Cast(%A) {to = 1} %N = Identity(%f_N)',
  '%k_N = Clip(%A, %low, %one) %N = Identity(%k_N)',
  '%i_N = Identity(%c28) %N = Add(%i_N, %A)',
];

test('random graphs load, keep the types of their results and compute about what they did', async () => {
  const step = fc.record({ op: fc.nat(steps.length - 1), a: fc.nat(100), b: fc.nat(100) });
  const feeds: Feeds = {
    x: randomFeed([2, 8], 11, 2),
    ids: i64(
      [2, 8],
      Array.from({ length: 16 }, (_, i) => (i * 5) % 7),
    ),
    ids1: i64([2], [3, 1]),
    flags: { dtype: 'bool', shape: [2, 8], data: Uint8Array.from({ length: 16 }, (_, i) => (i % 3 === 0 ? 0 : 1)) },
  };
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 3, maxLength: 12 }), fc.nat(3), async (list, extra) => {
      const body = list.map(({ op, a, b }, i) =>
        steps[op]!.replaceAll('_N', `_${i}`)
          .replaceAll('%N', `%v${i + 1}`)
          .replaceAll('%A', `%v${a % (i + 1)}`)
          .replaceAll('%B', `%v${b % (i + 1)}`),
      );
      const source = `graph @g(%x: f32[2,8], %ids: i64[2,8], %ids1: i64[2], %flags: bool[2,8]) {
        const %w: f32[8,8] = random 3 const %c8: f32[8] = random 4 const %c28: f32[2,8] = random 5 const %table: f32[5,8] = random 6
        const %one: f32[] = [1.0] const %nought: f32[] = [0.0] const %low: f32[] = [1.0e-9]
        const %least: f32[] = [-3.4028234663852886e38]
        const %axis: i64[1] = [-1] const %from: i64[1] = [1] const %to: i64[1] = [3] const %first: i64[1] = [0]
        %v0 = Identity(%x)
        ${body.join('\n')}
        return %v${list.length}${extra < list.length ? `, %v${extra}` : ''}
      }`;
      const { graph } = halved(source);
      const [before, after] = [await runOnce(executor, parseGraph(source), feeds), await outputsOf(graph, feeds)];
      expect(Object.values(after).map((t) => t.dtype)).toEqual(Object.values(before).map((t) => t.dtype));
      // One at a time: an output may be all rounding beside another.
      for (const name of Object.keys(before)) {
        const size = elements(before, name).reduce((most, v) => Math.max(most, Math.abs(v)), 0);
        elements(before, name).forEach((v, i) => expect(Math.abs(v - elements(after, name)[i]!)).toBeLessThan(2e-2 * (size + 1)));
      }
    }),
    { numRuns: 60 },
  );
}, 120_000);
