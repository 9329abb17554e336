import { describe, expect, test } from '@jest/globals';
import { checkGates, failedGates, type GateFlags } from '../../src/cli/run/gates.ts';
import type { Comparison, Evaluation } from '../../src/eval/evaluate.ts';
import { errorOf } from '../support/run.ts';

const compared: Pick<Comparison, 'kernels' | 'sites'> = { kernels: null, sites: [] };
/** A decoder 3 % above its float model. */
const decoder: Evaluation = {
  perplexity: 103,
  windows: 1,
  kernels: null,
  against: { ...compared, perplexity: 100, kl: 0.1, agreement: 0.9 },
};
/** An encoder whose second output is the worse one. */
const encoder: Evaluation = {
  windows: 1,
  kernels: null,
  against: {
    ...compared,
    outputs: [
      { name: 'a', sqnr: null, cosine: 1 },
      { name: 'b', sqnr: 20, cosine: 0.99 },
    ],
  },
};

describe('gates', () => {
  test.each<[GateFlags, Evaluation]>([
    [{ maxPerplexity: 103 }, decoder],
    [{ maxPerplexityIncrease: 0.031 }, decoder],
    [{ minAgreement: 0.9 }, decoder],
    [{ minCosine: 0.99 }, encoder],
    [{ minSqnr: 20 }, encoder],
    [{}, encoder],
  ])('%j is kept', (flags, found) => expect(failedGates(flags, found)).toEqual([]));

  test.each<[GateFlags, Evaluation, string]>([
    [{ maxPerplexity: 102 }, decoder, 'perplexity 103.0000 is above 102'],
    [{ maxPerplexityIncrease: 0.02 }, decoder, 'perplexity is 3.00 % above that of the float model, the limit is 2.00 %'],
    [{ minAgreement: 0.91 }, decoder, 'agreement 0.9000 is below 0.91'],
    [{ minCosine: 0.995 }, encoder, 'the cosine of an output, 0.990000, is below 0.995'],
    [{ minSqnr: 21 }, encoder, 'the SQNR of an output, 20.00 dB, is below 21 dB'],
    [{ maxPerplexity: 102 }, { ...decoder, perplexity: NaN }, 'perplexity NaN is above 102'],
  ])('%j is broken', (flags, found, message) => {
    expect(failedGates(flags, found).map((d) => [d.code, d.message])).toEqual([['QC2202', message]]);
  });

  test('every broken one is named', () => {
    expect(failedGates({ maxPerplexity: 1, minAgreement: 1 }, decoder)).toHaveLength(2);
  });

  test.each<[GateFlags, Evaluation]>([
    [{ minCosine: 0.9 }, decoder],
    [{ minSqnr: 1 }, decoder],
    [{ maxPerplexity: 100 }, encoder],
    [{ maxPerplexityIncrease: 0.02 }, encoder],
    [{ minAgreement: 0.9 }, encoder],
  ])('%j needs a figure that the model does not have', (flags, found) => {
    expect(errorOf(() => failedGates(flags, found))?.code).toBe('QC2103');
  });

  test.each<GateFlags>([{ minAgreement: 0.9 }, { minCosine: 0.9 }, { minSqnr: 1 }, { maxPerplexityIncrease: 0.02 }])(
    '%j needs a float model',
    (flags) => {
      expect(errorOf(() => checkGates(flags))?.code).toBe('QC2007');
      expect(() => checkGates({ ...flags, against: 'float.onnx' })).not.toThrow();
    },
  );
  test('a limit alone needs none', () => expect(() => checkGates({ maxPerplexity: 1 })).not.toThrow());
});
