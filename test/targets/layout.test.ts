import { afterAll, describe, expect, test } from '@jest/globals';
import { readModel, targetNamed, targets } from '../../codegen/index.ts';
import { definePass, formatPipeline, PassManager, passes, schemes } from '../../passes/index.ts';
import { effectivePipeline } from '../../src/effective-pipeline.ts';
import { presets } from '../../src/presets.ts';
import { model as modelOf, value } from '../codegen/models.ts';
import { scratch } from '../data/arrays.ts';
import { compileBytes, mlpConstants, mlpNodes, samplesFile } from '../support/compiled.ts';
import { errorOf, opsOf } from '../support/run.ts';

const folder = scratch();
afterAll(() => folder.remove());

const manager = new PassManager(passes);
const planned = (pipeline: string, scheme: string, target: string, known = manager): string =>
  formatPipeline(effectivePipeline(known, { passes: pipeline, scheme, target: targetNamed(targets, target) }));

describe('the layout of a target', () => {
  test.each(targets.map((t) => t.name))('%s is one that the passes take, for every scheme', (target) => {
    for (const { name } of schemes)
      for (const pipeline of ['none', 'os+', 'rptq', 'rptq,os+']) manager.plan(planned(pipeline, name, target));
  });
  test('depends on what passes say of themselves, not on their names', () => {
    const mine = definePass({ name: 'mine', summary: 'a test', contract: 'exact', traits: ['equalized'], run() {} });
    const known = new PassManager([...passes, mine]);
    for (const target of targets.map((t) => t.name)) {
      const quantize = (pipeline: string): string => planned(pipeline, 'w4a8', target, known).replace(/^.*(?=quantize)/, '');
      expect(quantize('mine')).toBe(quantize('os+'));
    }
    expect(planned('mine', 'w8a8', 'ort-cpu', known)).toContain('activations=tensor');
    expect(planned('none', 'w8a8', 'ort-cpu', known)).not.toContain('activations=');
  });
  test.each([
    ['ort-cpu', 'rptq,os+', 'w8a8', false],
    ['ort-cpu', 'rptq,os+', 'w4a8', false],
    ['ort-cpu', 'rptq', 'w8a8', false],
    ['ort-cpu', 'rptq', 'w4a16', false],
    ['ort-cpu', 'rptq,os+', 'w4a16', true],
    ['ort-cpu', 'rptq,os+', 'w8a6', true],
    ['ort-cuda', 'rptq,os+', 'w8a8', false],
    ['ort-cuda', 'rptq,os+', 'os+-int8', false],
    ['ort-cuda', 'rptq', 'w4a8', false],
    ['ort-cuda', 'rptq,os+', 'w4a8', true],
    ['qc-cpu', 'rptq', 'w8a8', true],
    ['qc-cpu', 'rptq', 'w4a16', false],
    ['qc-cpu', 'rptq,os+', 'w4a16', true],
    ['portable', 'rptq', 'w4a16', true],
  ])('has a use for an order only where it was measured to gain: %s, %s at %s: %p', (target, pipeline, scheme, ordered) =>
    expect(planned(pipeline, scheme, target).includes('unordered')).toBe(!ordered),
  );
  test('gives way to options that the user writes', () => {
    expect(planned('rptq{unordered=""},os+,quantize{activations=auto}', 'w8a8', 'ort-cpu')).toMatch(
      /rptq\{unordered\}.*quantize\{scheme=w8a8 gated=block weights=channel activations=auto\}/,
    );
  });
});

describe('a whole pipeline', () => {
  test('is not corrected where it was not when it was made', () => {
    const request = { passes: 'os+', scheme: 'w8a8', target: targetNamed(targets, 'portable'), biasCorrect: false };
    const kept = formatPipeline(effectivePipeline(manager, request));
    expect(kept).not.toContain('bias-correct');
    expect(planned(kept, 'w8a8', 'portable')).toBe(kept);
    const usual = planned('os+', 'w8a8', 'portable');
    expect(usual).toContain(',bias-correct,');
    expect(planned(usual, 'w8a8', 'portable')).toBe(usual);
  });
});

describe('a preset', () => {
  test('stands for its passes, among others', () => {
    const [preset] = presets;
    expect(planned(preset!.name, 'w4a8', 'portable')).toBe(planned(preset!.passes, 'w4a8', 'portable'));
    expect(planned(`tie-weights,${preset!.name}`, 'w4a8', 'portable')).toBe(planned(`tie-weights,${preset!.passes}`, 'w4a8', 'portable'));
  });
  test.each(targets.map((t) => t.name))('is one that %s takes, at every scheme', (target) => {
    for (const { name } of schemes) for (const preset of presets) manager.plan(planned(preset.name, name, target));
  });
  test('stands for its passes inside each-block, too', () => {
    const [preset] = presets;
    expect(planned(`each-block(${preset!.name})`, 'w4a8', 'portable')).toBe(planned(`each-block(${preset!.passes})`, 'w4a8', 'portable'));
  });
  test.each(['accurate{clusters=4}', 'accurate(rptq)'])('takes no options: %s', (pipeline) =>
    expect(errorOf(() => planned(pipeline, 'w4a8', 'portable'))?.code).toBe('QC2002'),
  );
  test('gives way to a pass of its name', () => {
    const mine = definePass({ name: 'accurate', summary: 'a test', contract: 'exact', run() {} });
    expect(planned('accurate', 'w4a8', 'portable', new PassManager([...passes, mine]))).toContain(',accurate,');
  });
});

describe('an order of channels that no quantizer of the target uses', () => {
  const bytes = modelOf({
    node: mlpNodes(),
    input: [value('x', 'f32', [1, 'tokens', 16])],
    output: [value('y', 'f32', [1, 'tokens', 16])],
    initializer: mlpConstants(),
  });
  const compiled = (target: string, pipeline: string, more = {}) =>
    compileBytes(folder, 'mlp', bytes, {
      passes: pipeline,
      scheme: 'w8a8',
      target,
      data: { files: [samplesFile(folder, 'samples.jsonl')] },
      ...more,
    });

  test('is not applied: no Gather is left, the model is that of os+ alone, and the ledger says whom it would serve', async () => {
    const { output, report } = await compiled('ort-cpu', 'rptq,os+{steps=4}', { strict: true });
    expect(report.left).toEqual({ gathers: 0, muls: 0, adds: 0 });
    expect(opsOf(readModel(output))).not.toContain('Gather');
    const linears = report.ledger.filter((e) => e.kind === 'linear');
    expect(linears).toHaveLength(2);
    for (const { left } of linears)
      expect(left).toEqual(['not reordered: ort-cpu has one scale for each input; an order serves qc-cpu, qc-cuda, portable']);
    const ops = opsOf(readModel(output));
    expect(opsOf(readModel((await compiled('ort-cpu', 'os+{steps=4}')).output))).toEqual(ops);
  });

  test('is applied where it serves', async () => {
    const { report } = await compiled('qc-cpu', 'rptq{r4=4 align=1},os+{steps=4}');
    expect(report.ledger.flatMap((e) => e.left).filter((why) => why.startsWith('not reordered'))).toEqual([]);
    expect(report.passes.find((p) => p.call.name === 'rptq')?.counts['sites']).toBe(2);
  });
});
