import { describe, expect, test } from '@jest/globals';
import { benchInput } from '../../src/bench/feeds.ts';
import { operatorTimes, type ProfileEvent } from '../../src/bench/profile.ts';
import { quantile, ratioTo, timesOf } from '../../src/bench/times.ts';
import { Graph, tensorType, type Dim } from '../../ir/index.ts';
import { syntheticFeeds } from '../../src/model.ts';
import { errorOf } from '../support/run.ts';

describe('statistics of times', () => {
  test('quantiles lie between the nearest samples, whatever their order', () => {
    expect(timesOf([5, 1, 4, 2, 3])).toEqual({ median: 3, lower: 2, upper: 4, least: 1, most: 5 });
    expect(quantile([10, 0], 0.25)).toBe(2.5);
    expect(timesOf([7])).toEqual({ median: 7, lower: 7, upper: 7, least: 7, most: 7 });
    expect(quantile([], 0.5)).toBeNaN();
  });
  test('a ratio is of the same rounds: a slow round is slow for both', () => {
    expect(ratioTo([1, 100, 2], [2, 200, 4])).toBe(2);
    expect(ratioTo([1, 2, 4], [1, 2, 400])).toBe(1);
  });
});

describe('times by operator', () => {
  const run = (ts: number, dur: number): ProfileEvent => ({ cat: 'Session', name: 'model_run', ts, dur });
  const kernel = (op_name: string, ts: number, dur: number): ProfileEvent => ({
    cat: 'Node',
    name: `${op_name}_kernel_time`,
    ts,
    dur,
    args: { op_name },
  });

  test('are means over the runs after the first', () => {
    const events = [
      { cat: 'Session', name: 'session_initialization', ts: 0, dur: 5 },
      ...[kernel('MatMul', 10, 9000), kernel('Add', 9100, 50), run(10, 10_000)],
      ...[kernel('Add', 20_000, 1000), kernel('MatMul', 21_000, 1000), kernel('MatMul', 22_000, 4000), run(20_000, 9000)],
      ...[kernel('Add', 30_000, 1000), kernel('MatMul', 31_000, 2000), kernel('MatMul', 33_000, 1000), run(30_000, 9000)],
    ];
    expect(operatorTimes(events)).toEqual([
      { operator: 'MatMul', nodes: 2, milliseconds: 4, share: 0.8 },
      { operator: 'Add', nodes: 1, milliseconds: 1, share: 0.2 },
    ]);
  });
  test('are none without a run', () => expect(operatorTimes([])).toEqual([]));
});

describe('inputs', () => {
  const taking = (...inputs: readonly (readonly [string, 'i64' | 'f32', readonly Dim[]])[]): Graph => {
    const graph = new Graph('g');
    for (const [name, dtype, shape] of inputs) graph.addInput(name, tensorType(dtype, shape));
    return graph;
  };
  const lengths = { sequence: 3, past: 5 };

  test('caches have the past, masks past and present, positions go on', () => {
    const graph = taking(
      ['input_ids', 'i64', ['batch', 'seq']],
      ['attention_mask', 'i64', ['batch', 'past_seq + seq']],
      ['position_ids', 'i64', ['batch', 'seq']],
      ['past.0.key', 'f32', ['batch', 4, 'past_seq', 8]],
    );
    const { feeds, tokens } = benchInput(graph, lengths);
    expect(tokens).toBe(3);
    expect(Object.values(feeds).map((t) => t.shape)).toEqual([
      [1, 3],
      [1, 8],
      [1, 3],
      [1, 4, 5, 8],
    ]);
    expect([...(feeds['position_ids']!.data as BigInt64Array)]).toEqual([5n, 6n, 7n]);
    expect(syntheticFeeds(graph)['past.0.key']!.shape).toEqual([1, 4, 0, 8]);
  });
  test('tokens are counted where there are any', () => {
    expect(benchInput(taking(['x', 'f32', ['batch', 'seq', 8]]), lengths).tokens).toBe(3);
    expect(benchInput(taking(['pixels', 'f32', ['batch', 3, 8, 8]]), lengths).tokens).toBeNull();
  });
  test('a model of another fixed length is QC2103', () => {
    expect(errorOf(() => benchInput(taking(['input_ids', 'i64', ['batch', 128]]), lengths))).toEqual({
      code: 'QC2103',
      message: expect.stringMatching(/"input_ids" of the model takes 128 tokens, not 3[^]*--seq 128/),
    });
  });
});
