import { afterAll, describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { int64 } from '../../codegen/onnx/proto.ts';
import { codes } from '../../ir/diagnostic-codes.ts';
import { model, node, value } from '../codegen/models.ts';
import { scratch } from '../data/arrays.ts';
import { fixture, leftOver, libraryUrl, qc, removeTemporary } from './binary.ts';

const folder = scratch();
afterAll(() => {
  folder.remove();
  expect(leftOver()).toEqual([]);
  removeTemporary();
});

const json = async (...args: readonly string[]) => JSON.parse((await qc([...args, '--json'])).stdout);

describe('inspect', () => {
  test('gives what the model holds as JSON', async () => {
    const found = await json('inspect', fixture('opt-tiny-op13'));
    expect(found).toMatchObject({
      irVersion: 7,
      opsets: { 'ai.onnx': 13 },
      producer: { name: 'pytorch' },
      inputs: [
        { name: 'input_ids', type: 'i64[batch,seq]' },
        { name: 'attention_mask', type: 'i64[batch,seq]' },
      ],
      outputs: [{ name: 'logits', type: 'f32[batch,seq,384]' }],
      externalFiles: [],
      recognised: { linears: 13, heads: 1, norms: 5, attentions: 2, caches: 0, sites: { norm: 4, linear: 4 } },
      present: { linears: 13, norms: 5, attentions: 2 },
      metadata: {},
    });
    expect(found.bytes).toBe(readFileSync(fixture('opt-tiny-op13')).length);
    expect(found.parameters.byType.f32.bytes).toBeGreaterThan(300_000);
  });

  test('--why lists what was recognised in part', async () => {
    const nodes = [node('Softmax', ['x'], ['p']), node('Relu', ['p'], ['y'])];
    const graph = { node: nodes, input: [value('x', 'f32', [2, 2])], output: [value('y', 'f32', [2, 2])] };
    const file = folder.file('softmax.onnx', model(graph, { opsetImport: [{ domain: '', version: int64(17) }] }));
    const { refused } = await json('inspect', file, '--why');
    expect(refused).toHaveLength(1);
    expect(refused[0]).toMatchObject({ op: 'Softmax', rule: 'raise-attention', value: 'p' });
    expect((await qc(['inspect', file])).stdout).toMatch(
      /^recognised +0 linears \(0 of them heads\), 0 norms, 0 of 1 attentions \(0 with a cache\); /m,
    );
    const { stdout } = await qc(['inspect', file, '--why']);
    expect(stdout).toMatch(/│ node +│ rule +│ reason +│ value +│/);
    expect(await json('inspect', file)).not.toHaveProperty('refused');
    expect((await qc(['inspect', fixture('opt-tiny-op13'), '--why'])).stdout).toMatch(/^refused +nothing$/m);
  });

  test('a model of an opset that qc cannot raise is still described', async () => {
    const graph = { node: [node('Add', ['x', 'x'], ['y'])], input: [value('x', 'f32', [2, 2])], output: [value('y', 'f32', [2, 2])] };
    const file = folder.file('old.onnx', model(graph, { opsetImport: [{ domain: '', version: int64(6) }] }));
    const { code, stdout } = await qc(['inspect', file]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^inputs +x: f32\[2,2\]$/m);
    expect(stdout).toMatch(/^recognised +nothing: .*QC4104/m);
  });

  test('what is no model is exit 3', async () => {
    const file = folder.file('no.onnx', 'not a model');
    expect(await qc(['inspect', file])).toMatchObject({ code: 3, stdout: '', stderr: expect.stringContaining('error QC4101') });
    expect((await json('inspect', file)).error.code).toBe('QC4101');
  });
});

describe('passes and explain', () => {
  test('passes, schemes and targets are listed', async () => {
    const { stdout } = await qc(['passes']);
    for (const name of ['rptq', 'os+', 'accurate', 'w8a8', 'ort-cpu', 'portable']) expect(stdout).toContain(` ${name} `);
    const listed = await json('passes');
    expect(listed.passes.map((p: { name: string }) => p.name)).toContain('fold-channels');
    expect(Object.keys(listed)).toEqual(['passes', 'presets', 'schemes', 'targets']);
  });

  test('a pass has its options with kinds, defaults and descriptions', async () => {
    const pass = await json('passes', 'rptq');
    expect(pass).toMatchObject({ name: 'rptq', contract: 'exact', needs: ['calibrated', 'folded'] });
    const [name, kind, description] = [expect.any(String), expect.any(String), expect.any(String)];
    for (const option of pass.options) expect(option).toEqual({ name, kind, default: option.default, description });
    expect((await qc(['explain', 'pass', 'rptq'])).stdout).toBe((await qc(['passes', 'rptq'])).stdout);
  });

  test('passes of a plugin are listed; what is no plugin is refused', async () => {
    const mine = "[definePass({ name: 'mine', summary: 'do nothing', contract: 'exact', run() {} })]";
    const plugin = folder.file('mine.mjs', `import { definePass } from '${libraryUrl()}';\nexport default ${mine};`);
    expect((await qc(['passes', 'mine', '--plugin', plugin])).stdout).toContain('mine: do nothing');
    const empty = folder.file('empty.mjs', 'export default { name: "x" };');
    const refused = expect.stringMatching(/QC2004: the default export of .*empty.mjs is no pass: it has no run function/);
    expect(await qc(['passes', '--plugin', empty])).toMatchObject({ code: 2, stderr: refused });
    expect(await qc(['passes', '--plugin', 'nowhere.mjs'])).toMatchObject({ code: 2, stderr: expect.stringContaining('QC2109') });
  });

  test('a code is explained', async () => {
    const { title, page } = codes.QC2101;
    expect((await qc(['explain', 'qc2101'])).stdout).toBe(`QC2101: ${title}\nerror, exit code 2 (usage)\n\n${page}\n`);
    expect(await json('explain', 'QC3101')).toMatchObject({ code: 'QC3101', severity: 'warning', exitCode: null });
  });
});

describe('opt', () => {
  const text = `graph @demo(%x: f32[N,4]) {
  const %w: f32[4,4] = random 1
  const %one: f32[] = [1.0]
  %s: f32[N,4] = Mul(%x, %one)
  %m: f32[N,4] = MatMul(%s, %w)
  %y: f32[N,4] = Relu(%m)
  return %y
}
`;
  const raised = text.replace('  const %one: f32[] = [1.0]\n  %s: f32[N,4] = Mul(%x, %one)\n', '').replace('MatMul(%s', 'MatMul(%x');

  test('runs exactly the passes given and prints text that it reads back', async () => {
    const file = folder.file('demo.qcir', text);
    const first = await qc(['opt', file, '-p', 'raise', '--verify', '--quiet']);
    expect(first).toEqual({ code: 0, stdout: raised, stderr: '' });
    const again = folder.file('again.qcir', first.stdout);
    expect((await qc(['opt', again, '-p', 'none', '--quiet'])).stdout).toBe(raised);
    expect((await qc(['opt', file, '-p', 'mark-sites', '-p', 'observe'])).stdout).toContain('qc.Observer(');
  });

  test('prints after a pass on stderr, and writes what -o says', async () => {
    const file = folder.file('demo.qcir', text);
    const printed = await qc(['opt', file, '-p', 'raise,dead-code', '--print-after', 'raise', '-o', file.replace('.qcir', '.onnx')]);
    expect(printed).toMatchObject({ code: 0, stdout: '', stderr: expect.stringContaining(`// after raise\n${raised}`) });
    expect((await json('inspect', file.replace('.qcir', '.onnx'))).operators).toEqual({ MatMul: 1, Relu: 1 });
    expect(await qc(['opt', file, '-p', 'raise', '--print-after', 'rais'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("did you mean 'raise'?"),
    });
  });

  test('of a golden, takes the graph before its passes', async () => {
    const golden = folder.file('golden.qcir', `// A neutral product goes.\n// qc: raise\n${text}// ---- after ----\n${raised}`);
    expect(await qc(['opt', golden, '-p', 'none', '--quiet'])).toEqual({ code: 0, stdout: text, stderr: '' });
    expect(await qc(['opt', golden, '-p', 'raise', '--quiet'])).toEqual({ code: 0, stdout: raised, stderr: '' });
    const twoGraphs = folder.file('two.qcir', `${text}${raised}`);
    expect(await qc(['opt', twoGraphs, '-p', 'none'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("expected the end of the text, found 'graph'"),
    });
  });

  test('a pass whose needs are not met, and text that does not parse, are usage errors', async () => {
    const file = folder.file('demo.qcir', text);
    expect(await qc(['opt', file, '-p', 'calibrate'])).toMatchObject({ code: 2, stderr: expect.stringContaining('QC2005') });
    const broken = folder.file('broken.qcir', 'graph @x( {');
    expect(await qc(['opt', broken, '-p', 'none'])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/broken\.qcir:1:\d+: error QC1501/),
    });
  });
});

test('doctor finds what qc needs', async () => {
  const found = await json('doctor');
  expect(found.ok).toBe(true);
  expect(found.checks.find((c: { name: string }) => c.name === 'run in a process').status).toBe('ok');
});
