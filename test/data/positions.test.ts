import { afterAll, describe, expect, test } from '@jest/globals';
import { Builder, inMemory, int, parseGraph, type Graph } from '../../ir/index.ts';
import { bytesFor } from '../../ir/types.ts';
import { benchInput } from '../../src/bench/feeds.ts';
import { modelInputs } from '../../src/data/inputs.ts';
import { inputsOf, openModel, syntheticFeeds } from '../../src/model.ts';
import { positionsOf } from '../../src/positions.ts';
import { familyPath } from '../support/families.ts';
import { openFixture, plainExecutor, runPipeline, valueNamed } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

const limitOf = (graph: Graph): number | null => positionsOf(graph, modelInputs(inputsOf(graph)));

/** Whether ONNX Runtime runs a sequence of so many tokens. */
async function runs(graph: Graph, sequence: number): Promise<boolean> {
  const program = await executor.load(graph);
  try {
    await program.run(syntheticFeeds(graph, { sequence, past: 0 }));
    return true;
  } catch {
    return false;
  } finally {
    await program.close();
  }
}

describe('exported models', () => {
  test.each([
    ['bert-tiny-op13', 64],
    ['bert-tiny-op17', 64],
    ['bert-tiny-sdpa-op17', 64],
    ['gpt2-tiny-op17', 64],
    ['opt-tiny-op13', 64],
  ] as const)('%s has %i positions, and ONNX Runtime refuses more', async (name, positions) => {
    const graph = openFixture(name);
    expect(limitOf(graph)).toBe(positions);
    expect([await runs(graph, positions), await runs(graph, positions + 1)]).toEqual([true, false]);
    expect(() => benchInput(graph, { sequence: positions + 1, past: 0 })).toThrow(
      expect.objectContaining({ code: 'QC2111', message: expect.stringContaining(`has ${positions} positions`) }),
    );
    expect(benchInput(graph, { sequence: positions, past: 0 }).tokens).toBe(positions);
  });

  test('a model without tokens has none', () => expect(limitOf(openFixture('encoder-mha-op17'))).toBeNull());
});

describe('a decoder of onnxruntime-genai', () => {
  test('has as many positions as its rotary tables have rows, raised or not', async () => {
    const graph = openModel(familyPath('llama-genai'));
    expect(limitOf(graph)).toBe(48);
    await runPipeline(executor, graph, 'raise');
    expect(limitOf(graph)).toBe(48);
    // The columns of the tables in another order, as an order of pairs leaves them.
    for (const rotary of [...graph.nodes].filter((n) => n.op === 'RotaryEmbedding'))
      for (const operand of [1, 2]) {
        const build = Builder.before(rotary);
        const table = rotary.input(operand)!;
        const order = Array.from({ length: Number(table.type!.shape!.at(-1)) }, (_, i) => i).toReversed();
        const made = build.value('Gather', [table, build.ints('order', order)], { axis: int(-1) }, table.type);
        graph.setInput(rotary, operand, made);
      }
    expect(limitOf(graph)).toBe(48);
  });
});

const embedded = `
  const %table: f32[50,8] = random 1
  const %zero: i64[1] = [0]
  const %one: i64[1] = [1]
  const %two: i64[1] = [2]
  const %first: i64[] = [1]
  %x = Gather(%table, %input_ids)
  %shape = Shape(%input_ids)
  %length = Gather(%shape, %one)`;
const graphOf = (body: string, inputs: string): Graph => parseGraph(`graph @g(${inputs}) {${embedded}${body}\n  return %y\n}`);

describe('spellings', () => {
  const count = (n: number): string => `[${Array.from({ length: n }, (_, i) => i).join(', ')}]`;
  const mask = '%input_ids: i64[B,S], %attention_mask: i64[B,S]';
  const ids = '%input_ids: i64[B,S]';
  const spellings: readonly (readonly [name: string, positions: number, inputs: string, body: string])[] = [
    ['a sliced table', 12, ids, 'const %p: f32[12,8] = random 2 %e = Slice(%p, %zero, %length, %zero) %y = Add(%x, %e)'],
    ['a sliced table with a batch', 12, ids, 'const %p: f32[1,12,8] = random 2 %e = Slice(%p, %zero, %length, %one) %y = Add(%x, %e)'],
    [
      'a sliced table that starts later',
      10,
      ids,
      'const %p: f32[12,8] = random 2 %end = Add(%length, %two) %e = Slice(%p, %two, %end, %zero) %y = Add(%x, %e)',
    ],
    [
      'a sliced buffer of positions',
      11,
      ids,
      `const %p: f32[30,8] = random 2 const %n: i64[1,11] = ${count(11)}
       %at = Slice(%n, %zero, %length, %one) %e = Gather(%p, %at) %y = Add(%x, %e)`,
    ],
    [
      'a shorter table behind a buffer of positions',
      9,
      ids,
      `const %p: f32[9,8] = random 2 const %n: i64[1,11] = ${count(11)}
       %at = Slice(%n, %zero, %length, %one) %e = Gather(%p, %at) %y = Add(%x, %e)`,
    ],
    [
      'a sliced table in a branch',
      12,
      ids,
      `const %p: f32[12,8] = random 2 const %yes: bool[] = [1]
       %y = If(%yes) {then_branch = graph @then() { %e = Slice(%p, %zero, %length, %zero) %a = Add(%x, %e) return %a },
         else_branch = graph @else() { %b = Identity(%x) return %b }}`,
    ],
    [
      'positions counted by Range',
      12,
      ids,
      `const %p: f32[12,8] = random 2 const %from: i64[] = [0] const %step: i64[] = [1] %end = Gather(%shape, %first)
       %at = Range(%from, %end, %step) %e = Gather(%p, %at) %y = Add(%x, %e)`,
    ],
    [
      'positions counted along the mask, from 2',
      10,
      mask,
      `const %p: f32[12,8] = random 2 const %axis: i64[] = [1] %n = CumSum(%attention_mask, %axis)
       %kept = Mul(%n, %attention_mask) %at = Add(%kept, %one) %e = Gather(%p, %at) %y = Add(%x, %e)`,
    ],
    [
      'a sliced causal mask',
      7,
      ids,
      `const %c: f32[1,1,7,7] = random 2 const %three: i64[1] = [3] %t = Transpose(%x) {perm = [0, 2, 1]} %scores = MatMul(%x, %t)
       %s4 = Unsqueeze(%scores, %one) %rows = Slice(%c, %zero, %length, %two) %block = Slice(%rows, %zero, %length, %three) %y = Add(%s4, %block)`,
    ],
  ];
  test.each(spellings)('%s', async (_, positions, inputs, body) => {
    const graph = graphOf(body, inputs);
    expect(limitOf(graph)).toBe(positions);
    expect([await runs(graph, positions), await runs(graph, positions + 1)]).toEqual([true, false]);
  });

  test('position_ids', async () => {
    const graph = graphOf(
      'const %p: f32[12,8] = random 2 %e = Gather(%p, %position_ids) %y = Add(%x, %e)',
      '%input_ids: i64[B,S], %position_ids: i64[B,S]',
    );
    expect(limitOf(graph)).toBe(12);
    expect([await runs(graph, 12), await runs(graph, 13)]).toEqual([true, false]);
  });

  // Compiled models hold such weights.
  test.each(['i4', 'u4', 'i2', 'i8', 'f16'] as const)('constants of %s hold no positions', (dtype) => {
    const rows = 'const %p: f32[12,8] = random 2 %e = Slice(%p, %zero, %length, %zero) %z = Add(%x, %e)';
    const graph = graphOf(`${rows} const %q: f32[8] = random 3 %r = Identity(%q) %f = Cast(%r) {to = 1} %y = Add(%z, %f)`, ids);
    const codes = graph.addConstant('codes', inMemory(dtype, [8], new Uint8Array(bytesFor(dtype, 8))));
    graph.replace(valueNamed(graph, 'q'), codes);
    expect(limitOf(graph)).toBe(12);
  });

  const unbounded: readonly (readonly [string, string])[] = [
    ['a slice of one row, which broadcasts', 'const %p: f32[1,8] = random 2 %e = Slice(%p, %zero, %length, %zero) %y = Add(%x, %e)'],
    [
      'positions that are cut to the table',
      `const %p: f32[5,8] = random 2 const %from: i64[] = [0] const %last: i64[] = [4] %end = Gather(%shape, %first)
       %n = Range(%from, %end, %first) %at = Min(%n, %last) %e = Gather(%p, %at) %y = Add(%x, %e)`,
    ],
  ];
  test.each(unbounded)('%s: no limit', async (_, body) => {
    const graph = graphOf(body, ids);
    expect(limitOf(graph)).toBeNull();
    expect(await runs(graph, 40)).toBe(true);
  });

  test('the graph stays as it is', () => {
    const graph = openFixture('gpt2-tiny-op17');
    const before = [...graph.nodes].map((n) => n.output.type);
    limitOf(graph);
    expect([...graph.nodes].map((n) => n.output.type)).toEqual(before);
  });
});
