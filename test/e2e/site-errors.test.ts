import { afterAll, describe, expect, test } from '@jest/globals';
import { exchange } from '../../ir/index.ts';
import { dense, floats } from '../../ir/tensor.ts';
import { siteErrors } from '../../src/eval/site-errors.ts';
import { lookInto } from '../../src/model.ts';
import { fixturePath, fixtureSamples, plainExecutor, sweepContext } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

describe.each(['opt-tiny-op13', 'bert-tiny-op17'] as const)('errors inside %s', (name) => {
  const settings = { tokens: null, ctx: sweepContext(executor) };
  const windows = fixtureSamples(name, 2);
  const float = lookInto(fixturePath(name));
  /** The model with every matrix rounded to quarters of hundredths. */
  const rounded = () => {
    const graph = lookInto(fixturePath(name));
    for (const v of [...graph.constants])
      if (v.constant!.dtype === 'f32' && v.constant!.shape.length === 2) {
        const coarse = floats(v.constant!).map((x) => Math.round(x * 400) / 400);
        exchange(graph, v, dense(v.constant!.shape, coarse));
      }
    return graph;
  };

  test('are found block by block as they are in one', async () => {
    const model = rounded();
    const whole = await siteErrors(float, model, windows, { ...settings, least: Infinity });
    const cut = await siteErrors(float, model, windows, { ...settings, least: 1 });
    expect(whole.length).toBeGreaterThan(5);
    expect(cut.map((e) => e.name)).toEqual(whole.map((e) => e.name));
    cut.forEach((e, i) => expect(e.sqnr).toBeCloseTo(whole[i]!.sqnr!, 3));
    for (const { sqnr } of whole) expect(sqnr).toBeGreaterThan(5);
  });

  test('are none where nothing differs', async () => {
    const same = await siteErrors(float, lookInto(fixturePath(name)), windows, { ...settings, least: 1 });
    expect(same.length).toBeGreaterThan(5);
    for (const { sqnr } of same) expect(sqnr === null || sqnr > 100).toBe(true);
  });
});
