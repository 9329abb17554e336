import { afterAll, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { fixture, leftOver, qc, removeTemporary, root } from './binary.ts';

afterAll(() => {
  expect(leftOver()).toEqual([]);
  removeTemporary();
});
const float = fixture('opt-tiny-op13');

test('generate prints tokens and how fast they came, or one document', async () => {
  const { code, stdout, stderr } = await qc(['generate', float, '--ids', '3,4,5', '--tokens', '4', '--threads', '1']);
  expect(code).toBe(0);
  expect(stdout).toMatch(/^\d+,\d+,\d+,\d+\n\nprefill +3 tokens in \d+ ms, \d+ tokens\/s\ndecoding +3 tokens in /);
  expect(stdout).toMatch(/^caches +none: /m);
  expect(stderr).toContain('generate with');
  const document = JSON.parse((await qc(['generate', float, '--ids', '3,4,5', '--tokens', '4', '--threads', '1', '--json'])).stdout);
  expect(document).toMatchObject({ prompt: [3, 4, 5], ended: 'tokens', caches: 0, text: null, kernels: null });
  expect(stdout.startsWith(`${document.tokens.join(',')}\n`)).toBe(true);
});

test('a text goes in and a text comes out', async () => {
  const demo = join(root, 'examples/demo');
  const text = ['--prompt', 'the', '--tokenizer', join(demo, 'tokenizer.json'), '--tokens', '3'];
  const { code, stdout } = await qc(['generate', join(demo, 'model.onnx'), ...text, '--quiet']);
  expect(code).toBe(0);
  expect(stdout).toMatch(/[a-z]/);
});

test('a prompt is needed, and one only: exit 2', async () => {
  for (const given of [[], ['--prompt', 'a', '--ids', '1']]) {
    const { code, stdout, stderr } = await qc(['generate', float, ...given]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain('QC2007');
  }
});
