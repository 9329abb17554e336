import { readFileSync } from 'node:fs';
import { afterAll, describe, expect, test } from '@jest/globals';
import { targets } from '../../codegen/index.ts';
import { model as modelOf, value } from '../codegen/models.ts';
import { scratch } from '../data/arrays.ts';
import { compileBytes, mlpConstants, mlpNodes, quantizedIn, samplesFile } from '../support/compiled.ts';

const folder = scratch();
afterAll(() => folder.remove());

const bytes = modelOf({
  node: mlpNodes(),
  input: [value('x', 'f32', [1, 'tokens', 16])],
  output: [value('y', 'f32', [1, 'tokens', 16])],
  initializer: mlpConstants(),
});
const data = { files: [samplesFile(folder, 'samples.jsonl')] };

describe.each(targets.map((t) => t.name))('on %s', (target) => {
  test.each([
    ['equalize', 'w4a8'],
    ['smooth', 'w8a8'],
    ['awq', 'w4a16'],
  ])('%s at %s quantizes both linears and leaves nothing at run time, the same bytes every time', async (passes, scheme) => {
    const compiled = (name: string) => compileBytes(folder, name, bytes, { passes, scheme, target, data });
    const { output, report } = await compiled(`${passes}-one`);
    expect(quantizedIn(report)).toBe(2);
    expect(report.left).toEqual({ gathers: 0, muls: 0, adds: 0 });
    const scaled = report.ledger.filter((e) => [...e.done, ...e.left].some((text) => text.includes(`scaled`) && text.includes(passes)));
    expect(scaled.map((e) => e.kind)).toEqual(['linear', 'linear']);
    expect(readFileSync((await compiled(`${passes}-two`)).output)).toEqual(readFileSync(output));
  });
});
