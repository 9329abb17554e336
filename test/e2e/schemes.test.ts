import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compile, schemes } from '../../src/index.ts';
import { evaluate } from '../../src/eval/evaluate.ts';

const model = 'test/fixtures/exported/opt-tiny-op13.onnx';
const seq = 24;
let folder = '';
let data = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'qc-schemes-'));
  data = join(folder, 'tokens.jsonl');
  const line = (s: number) => JSON.stringify({ input_ids: Array.from({ length: seq }, (_, i) => (i * 37 + s * 101 + 5) % 384) });
  writeFileSync(data, [0, 1, 2, 3].map(line).join('\n'));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Every scheme by its own method, with ONNX Runtime rewriting the graph as it does by default. */
describe.each(schemes.map((s) => s.name))('scheme %s', (scheme) => {
  test.each(['portable', 'ort-cpu'])('for %s gives a model that loads, runs and stays near the float one', async (target) => {
    const output = join(folder, `${target}.onnx`);
    const passes = scheme.startsWith('os+') ? 'os+{steps=5}' : 'rptq';
    const report = await compile({ model, output, passes, scheme, target, data: { files: [data], seq, samples: 4 } });
    expect(report.exactDifference).toBeLessThan(1e-4);
    const { perplexity, against } = await evaluate({ model: output, data: { files: [data], seq, samples: 4 }, against: model });
    expect(Number.isFinite(perplexity)).toBe(true);
    expect(against!.kl).toBeLessThan(scheme.includes('a3') || scheme.includes('int4') ? 1.5 : 0.5);
  });
});
