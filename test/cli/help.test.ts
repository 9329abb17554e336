import { afterAll, describe, expect, test } from '@jest/globals';
import { leftOver, qc, removeTemporary } from './binary.ts';

afterAll(() => {
  expect(leftOver()).toEqual([]);
  removeTemporary();
});

const commands = [
  'compile',
  'eval',
  'bench',
  'generate',
  'inspect',
  'passes',
  'explain',
  'opt',
  'doctor',
  'kernels',
  'kernels build',
  'kernels path',
];

describe('help', () => {
  test('lists every command in groups, on stdout', async () => {
    const { code, stdout, stderr } = await qc(['--help']);
    expect(code).toBe(0);
    expect(stderr).toBe('');
    for (const heading of ['Compile:', 'Look:', 'Debug:', 'Examples:', 'Exit codes:']) expect(stdout).toContain(heading);
    for (const command of commands.filter((c) => !c.includes(' '))) expect(stdout).toMatch(new RegExp(`^  ${command} .*\\S`, 'm'));
  });

  test.each(commands)('%s is described, with an example of itself', async (command) => {
    const { code, stdout } = await qc([...command.split(' '), '--help']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^Usage: qc [\w ]+ .*\n\n\S.{20}/);
    expect(stdout.split('Examples:\n')[1]).toContain(`  $ qc ${command} `.trimEnd());
    const options = [...stdout.matchAll(/^ {2}(-[\w-]+.*)$/gm)].map(([, line]) => line!);
    for (const option of options) expect(option).toMatch(/^(-\w, )?(--)?[\w-]+( <[^>]+>| \[[^\]]+\])? {2,}\S/);
  });

  test('the version is that of the package', async () => {
    expect((await qc(['--version'])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe('usage errors', () => {
  test.each([
    ['a command', ['compil', 'm.onnx'], "unknown command 'compil'; did you mean 'compile'?"],
    ['a command to help', ['help', 'inspct'], "unknown command 'inspct'; did you mean 'inspect'?"],
    ['an option', ['compile', 'm.onnx', '-p', 'none', '--sceme', 'w8a8'], "unknown option '--sceme'; did you mean '--scheme'?"],
    ['a pass', ['compile', 'm.onnx', '-p', 'rptqq'], "no pass 'rptqq'; did you mean 'rptq'?"],
    ['an option of a pass', ['compile', 'm.onnx', '-p', 'rptq{sed=3}'], "did you mean 'seed'?"],
    ['a scheme', ['compile', 'm.onnx', '-p', 'none', '--scheme', 'w8a9'], "no scheme 'w8a9'; did you mean 'w8a8'?"],
    ['a code', ['explain', 'QC210l'], "no diagnostic 'QC210l'; did you mean 'QC2101'?"],
    ['a choice', ['compile', 'm.onnx', '-p', 'none', '--external-data', 'alway'], 'Allowed choices are auto, always, never'],
    ['a number', ['compile', 'm.onnx', '-p', 'none', '--seq', '1.5'], 'expected a whole number of at least 1'],
    ['no command', [], 'no command given'],
    ['no pipeline', ['compile', 'm.onnx'], "'-p, --passes <pipeline>' not specified"],
    ['a swallowed argument', ['compile', '-p', 'none', '--calib', 'c.txt', 'm.onnx'], 'put it before options that take several values'],
    ['a gate without its measure', ['eval', 'm.onnx', '--data', 'x.npz', '--min-agreement', '0.9'], '--min-agreement needs --against'],
    [
      'a relative gate alone',
      ['eval', 'm.onnx', '--data', 'x.npz', '--max-perplexity-increase', '2%'],
      '--max-perplexity-increase needs --against',
    ],
    ['a share that is none', ['eval', 'm.onnx', '--data', 'x.npz', '--max-perplexity-increase', '2'], 'expected a percentage, as 2%'],
  ])('%s: exit 2, a suggestion on stderr, nothing on stdout', async (_, args, message) => {
    const { code, stdout, stderr } = await qc(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^error QC2\d{3}: /);
    expect(stderr).toContain(message);
  });

  test('under --json an error is one document on stdout', async () => {
    const { code, stdout, stderr } = await qc(['inspect', '--json', '--nope', 'm.onnx']);
    expect({ code, stderr }).toEqual({ code: 2, stderr: '' });
    const error = { code: 'QC2007', message: "unknown option '--nope'", title: 'command line not understood' };
    expect(JSON.parse(stdout)).toEqual({ error: { ...error, at: { kind: 'unknown' }, notes: [], hint: expect.any(String) } });
  });
});
