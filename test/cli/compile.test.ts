import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { f32, model, node, value } from '../codegen/models.ts';
import { npy, scratch, zip } from '../data/arrays.ts';
import { fixture, leftOver, libraryUrl, qc, removeTemporary, type Outcome } from './binary.ts';

const folder = scratch();
const rows = Array.from({ length: 6 }, (_, i) => Array.from({ length: 12 }, (_, j) => (i * 37 + j * 11) % 380));
const lines = folder.file('calib.jsonl', rows.map((input_ids) => JSON.stringify({ input_ids })).join('\n'));
const arrays = folder.file('calib.npz', zip({ 'input_ids.npy': npy('<i8', [1, 12], BigInt64Array.from(rows[0]!, BigInt)) }));
const at = (name: string): string => join(dirname(lines), name);

afterAll(() => {
  folder.remove();
  expect(leftOver()).toEqual([]);
  removeTemporary();
});

const float = fixture('opt-tiny-op13');
const data = ['--calib', lines, '--seq', '12', '--samples', '6', '--threads', '1'];
/** What is the same whether the kernels are built or not. */
const stock = ['--target', 'ort-cpu'];
const compile = (...args: readonly string[]): Promise<Outcome> => qc(['compile', float, ...args]);

const plugin = (name: string, run: string): string =>
  folder.file(
    `${name}.mjs`,
    `import { definePass, fail } from '${libraryUrl()}';
export default definePass({ name: '${name}', summary: 'test', contract: 'exact', run: async (graph, ctx) => { ${run} } });`,
  );

describe('a compile', () => {
  let outcome: Outcome;
  beforeAll(async () => {
    const output = ['-o', at('first.onnx'), '--save-calibration', at('ranges')];
    outcome = await compile('-p', 'rptq', '-p', 'os+', ...stock, ...data, ...output, '--print-after', 'mark-sites');
  });

  test('prints the ledger and a summary on stdout', () => {
    expect(outcome.code).toBe(0);
    expect(outcome.stdout).toMatch(/│ kind +│ name +│ done +│ left +│/);
    expect(outcome.stdout).toMatch(/^linears quantized +12 of 1[23]$/m);
    expect(outcome.stdout).toMatch(/^left at run time +\d+ Gather, \d+ Mul, \d+ Add$/m);
    expect(outcome.stdout).toMatch(/^size +670\.07 kB -> \d+\.\d+ kB \(ratio 0\.\d{3}\)$/m);
    expect(outcome.stdout).toMatch(/^written +.*first\.onnx/m);
  });

  test('says the passes, warnings by code, and the pipeline on stderr', () => {
    const { stderr } = outcome;
    expect(stderr.match(/^\[\d+\/\d+\] /gm)!.length).toBeGreaterThan(8);
    expect(stderr).toMatch(/^pipeline: raise,.*rptq.*os\+.*dead-code$/m);
    expect(stderr).toContain('// after mark-sites{scheme=w8a8}\ngraph @');
    const warnings = stderr.match(/warning QC3101/g) ?? [];
    expect(warnings.length).toBeLessThanOrEqual(3);
    if (warnings.length === 3) expect(stderr).toMatch(/^\.\.\. and \d+ more QC3101$/m);
  });

  test('writes the same bytes again, also from saved ranges', async () => {
    expect(await compile('-p', 'rptq,os+', ...stock, ...data, '-o', at('second.onnx'), '--quiet')).toMatchObject({ code: 0 });
    expect(readFileSync(at('second.onnx')).equals(readFileSync(at('first.onnx')))).toBe(true);
    const saved = ['--calibration', at('ranges')];
    const { code, stdout, stderr } = await compile('-p', 'none', ...stock, ...saved, '-o', at('third.onnx'), '--json');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({
      scheme: 'w8a8',
      target: 'ort-cpu',
      bytesBefore: 670073,
      files: [{ path: at('third.onnx') }],
    });
  });

  test('in sequence says so in the pipeline that the model keeps, and cannot save its ranges', async () => {
    const sequential = ['-p', 'rptq', '--scheme', 'w8a6', '--target', 'portable', '--order', 'sequential', ...data];
    const { code, stdout } = await compile(...sequential, '-o', at('sequence.onnx'), '--json');
    const { pipeline, exactDifference } = JSON.parse(stdout);
    expect(code).toBe(0);
    expect(pipeline).toBe(
      'raise,fold-constants,tie-weights,open-caches,mark-sites{scheme=w8a6},observe,each-block{order=sequential}(calibrate,rptq,fold-channels,quantize{scheme=w8a6},bias-correct),close-caches,dead-code',
    );
    expect(exactDifference).toBeLessThan(1e-4);
    expect(JSON.parse((await qc(['inspect', at('sequence.onnx'), '--json'])).stdout).metadata['qc.pipeline']).toBe(pipeline);
    const again = await compile('-p', pipeline, '--scheme', 'w8a6', '--target', 'portable', ...data, '-o', at('again.onnx'), '--quiet');
    expect([again.code, readFileSync(at('again.onnx')).equals(readFileSync(at('sequence.onnx')))]).toEqual([0, true]);
    const saved = await compile(...sequential, '-o', at('none.onnx'), '--save-calibration', at('none'));
    expect([saved.code, saved.stderr.includes('QC2007'), existsSync(at('none.onnx'))]).toEqual([2, true, false]);
  });

  test('is measured by eval, alone and against the float model', async () => {
    const alone = await qc(['eval', at('first.onnx'), '--data', lines, '--seq', '12', '--json']);
    const both = await qc(['eval', at('first.onnx'), '--data', lines, '--seq', '12', '--against', float, '--json']);
    expect([alone.code, both.code, alone.stderr, both.stderr]).toEqual([0, 0, '', '']);
    const found = JSON.parse(both.stdout);
    expect(JSON.parse(alone.stdout)).toEqual({ perplexity: found.perplexity, tokens: 66, windows: 6, kernels: null });
    expect(found.against.perplexity / found.perplexity).toBeCloseTo(1, 1);
    expect(found.against.kl).toBeGreaterThan(0);
    expect(found.against.kl).toBeLessThan(0.2);
    expect(found.against.agreement).toBeGreaterThan(0.5);
    expect(found.against.sites.length).toBeGreaterThan(3);
    for (const { sqnr } of found.against.sites) expect(sqnr ?? Infinity).toBeGreaterThan(10);
  });

  test('a model is equal to itself', async () => {
    const { stdout } = await qc(['eval', float, '--data', lines, '--seq', '12', '--windows', '2', '--against', float, '--json']);
    const { against, perplexity } = JSON.parse(stdout);
    expect(against).toMatchObject({ perplexity, agreement: 1 });
    expect(Math.abs(against.kl)).toBeLessThan(1e-9);
    for (const { sqnr } of against.sites) expect(sqnr ?? Infinity).toBeGreaterThan(90);
  });

  test('that misses a limit is exit 4, with the figures', async () => {
    const { code, stdout } = await qc(['eval', at('first.onnx'), '--data', lines, '--seq', '12', '--max-perplexity', '1', '--json']);
    expect(code).toBe(4);
    expect(JSON.parse(stdout)).toMatchObject({ perplexity: expect.any(Number), error: { code: 'QC2202' } });
  });
});

test('an encoder is compared by its outputs', async () => {
  const bert = fixture('bert-tiny-op17');
  const alone = await qc(['eval', bert, '--data', lines, '--seq', '12']);
  expect(alone).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/QC2103: perplexity needs .*\n.*\n {2}hint: compare it .*--against/),
  });
  const { stdout } = await qc(['eval', bert, '--data', lines, '--seq', '12', '--windows', '1', '--against', bert, '--json']);
  expect(JSON.parse(stdout)).toMatchObject({ windows: 1, against: { outputs: [{ name: 'last_hidden_state', sqnr: null, cosine: 1 }] } });
  expect(JSON.parse(stdout).perplexity).toBeUndefined();
});

test('a perplexity that no model should have is short', async () => {
  // Every token is sure to be followed by itself.
  const table = Array.from({ length: 64 }, (_, i) => (i % 9 === 0 ? 100 : 0));
  const ports = { input: [value('input_ids', 'i64', [1, 'N'])], output: [value('logits', 'f32', [1, 'N', 8])] };
  const gather = { initializer: [f32('table', [8, 8], table)], node: [node('Gather', ['table', 'input_ids'], ['logits'])], ...ports };
  const sure = folder.file('sure.onnx', model(gather));
  const ids = folder.file('ids.jsonl', '{"input_ids": [0, 1, 2, 3]}\n');
  const { code, stdout, stderr } = await qc([
    'eval',
    sure,
    '--data',
    ids,
    '--seq',
    '4',
    '--max-perplexity',
    '9',
    '--against',
    sure,
    '--quiet',
  ]);
  expect(code).toBe(4);
  expect(stdout).toMatch(/^perplexity +2\.69e43\n[^]*^float perplexity +2\.69e43$/m);
  expect(stderr).toBe('error QC2202: perplexity 2.69e43 is above 9\n');
});

describe('a compile that fails', () => {
  const emptied = (): string => {
    const out = at(`out-${Math.random().toString(36).slice(2)}`);
    mkdirSync(out);
    return out;
  };

  test.each([
    ['usage', 2, 'QC2101', []],
    ['usage', 2, 'QC2106', ['--calib', lines, '--samples', '1000']],
    ['usage', 2, 'QC2109', ['--calib', at('nowhere.jsonl')]],
  ])('for %s: exit %d with %s, and writes nothing', async (_, code, name, more) => {
    const out = emptied();
    const result = await compile('-p', 'none', ...more, '-o', join(out, 'm.onnx'), '--json');
    expect({ code: result.code, stderr: result.stderr }).toEqual({ code, stderr: '' });
    expect(JSON.parse(result.stdout).error.code).toBe(name);
    expect(readdirSync(out)).toEqual([]);
  });

  test('in a pass: exit 1 for a failure, 70 for a bug, with a stack only when asked for', async () => {
    const out = emptied();
    const failing = plugin('failing', "fail('QC2107', 'not finite')");
    const rest = ['--calib', arrays, '--samples', '1', '-o', join(out, 'm.onnx')];
    const run = (file: string, name: string, env = {}) => qc(['compile', float, '-p', name, '--plugin', file, ...rest], { env });
    expect(await run(failing, 'failing')).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('error QC2107: not finite'),
    });
    const buggy = plugin('buggy', "throw new TypeError('oops')");
    const quiet = await run(buggy, 'buggy');
    expect(quiet).toMatchObject({ code: 70, stderr: expect.stringContaining('error QC9001: TypeError: oops') });
    expect(quiet.stderr).not.toContain('    at ');
    expect((await run(buggy, 'buggy', { DEBUG: 'qc*' })).stderr).toContain('    at ');
    expect(readdirSync(out)).toEqual([]);
  });

  test('when the model is none: exit 3; when it would be overwritten: exit 2', async () => {
    const copy = at('copy.onnx');
    copyFileSync(float, copy);
    const run = (model: string, output: string) => qc(['compile', model, '-p', 'none', ...data, '-o', output]);
    expect(await run(lines, at('x.onnx'))).toMatchObject({ code: 3 });
    expect(await run(copy, copy)).toMatchObject({ code: 2, stderr: expect.stringContaining('would overwrite') });
    expect(await run(copy, at('no/such/m.onnx'))).toMatchObject({ code: 1, stderr: expect.stringContaining('QC4201') });
    expect(readFileSync(copy).equals(readFileSync(float))).toBe(true);
  });
});

describe('--quiet', () => {
  const explicit = ['-p', 'rptq', '--target', 'portable', ...data];

  test('leaves errors on stderr, and neither warnings nor notes; the JSON has the warnings', async () => {
    const [loud, quiet, json] = [
      await compile(...explicit, '-o', at('loud.onnx')),
      await compile(...explicit, '-o', at('quiet.onnx'), '--quiet'),
      await compile(...explicit, '-o', at('json.onnx'), '--quiet', '--json'),
    ];
    expect(loud.stderr).toMatch(/warning QC3101[^]*^pipeline: /m);
    expect(loud.stderr).toMatch(/warning QC3101: a Gather left at run time .*\n +note: .* takes no order, at %/);
    expect(quiet).toEqual({ code: 0, stdout: loud.stdout.replace('loud.onnx', 'quiet.onnx'), stderr: '' });
    expect(JSON.parse(json.stdout).diagnostics).toContainEqual(expect.objectContaining({ code: 'QC3101', severity: 'warning' }));
    const failed = await compile('-p', 'none', '--quiet', '-o', at('failed.onnx'));
    expect(failed).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/^error QC2101: /) });
  });
});

describe('what lies in the place of an output', () => {
  test.each([
    ['the model', 'pipe.onnx', ['-o', at('pipe.onnx')]],
    ['its weights', 'piped.onnx.data', ['-o', at('piped.onnx')]],
    ['the ranges', 'ranges.pipe', ['-o', at('fine.onnx'), '--save-calibration', at('ranges.pipe')]],
  ])('for %s, a pipe is refused before any work, and stays', async (_, pipe, args) => {
    execFileSync('mkfifo', [at(pipe)]);
    const { code, stdout, stderr } = await compile('-p', 'none', ...data, ...args);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(stderr).toMatch(new RegExp(`^\\S+ error QC4201: cannot write .*${pipe}: a pipe is there\n`));
    expect(lstatSync(at(pipe)).isFIFO()).toBe(true);
    expect(existsSync(at('fine.onnx'))).toBe(false);
  });

  test('opt refuses it too, whether it writes text or a model', async () => {
    const text = folder.file('relu.qcir', 'graph @g(%x: f32[2]) { %y: f32[2] = Relu(%x) return %y }\n');
    for (const name of ['out.qcir', 'out.onnx']) {
      mkdirSync(at(name));
      const refused = { code: 1, stdout: '', stderr: expect.stringContaining(`${name}: a folder is there`) };
      expect(await qc(['opt', text, '-p', 'dead-code', '-o', at(name)])).toMatchObject(refused);
    }
  });
});

describe('signals', () => {
  const slow = (): readonly string[] => {
    const stop = "ctx.signal.addEventListener('abort', () => process.env.DEAF || reject(ctx.signal.reason))";
    const file = plugin('slow', `await new Promise((resolve, reject) => { setTimeout(resolve, 30000); ${stop}; })`);
    return ['compile', float, '-p', 'slow', '--plugin', file, ...data, '-o', at('slow.onnx')];
  };

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('%s stops the run: exit %d, as the help says, nothing written, nothing left', async (name, exitCode) => {
    let sent = false;
    const { code, stdout, stderr } = await qc(slow(), {
      onTalk(text, kill) {
        if (!sent && text.includes('] slow')) kill(name);
        sent ||= text.includes('] slow');
      },
    });
    expect({ code, stdout }).toEqual({ code: exitCode, stdout: '' });
    expect((await qc(['--help'])).stdout.split('Exit codes:')[1]).toMatch(new RegExp(`\\b${exitCode}\\b`));
    expect(stderr).toContain('error QC5002: interrupted');
    expect(existsSync(at('slow.onnx'))).toBe(false);
    expect(leftOver()).toEqual([]);
  });

  test('a second Ctrl-C ends a run that does not listen, and leaves nothing either', async () => {
    let sent = 0;
    const { code, stdout } = await qc(slow(), {
      env: { DEAF: '1' },
      onTalk(text, kill) {
        if (sent < 1 && text.includes('] slow')) sent = (kill('SIGINT'), 1);
        if (sent < 2 && text.includes('once more')) sent = (kill('SIGINT'), 2);
      },
    });
    // Killed by the signal itself.
    expect({ code, stdout }).toEqual({ code: null, stdout: '' });
    expect(leftOver()).toEqual([]);
  });
});
