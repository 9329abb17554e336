import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compile, schemes } from '../../src/index.ts';
import { Divergence } from '../../src/eval/divergence.ts';
import { elements, fusingExecutor, i64 } from '../support/run.ts';

const model = 'test/fixtures/exported/opt-tiny-op13.onnx';
const seq = 24;
const samples = [0, 1, 2, 3].map((s) => Array.from({ length: seq }, (_, i) => (i * 37 + s * 101 + 5) % 384));
const feeds = samples.map((ids) => ({ input_ids: i64([1, seq], ids), attention_mask: i64([1, seq], new Array<number>(seq).fill(1)) }));
// What the models give is compared in one process, with ONNX Runtime rewriting each graph as it does by default.
const executor = fusingExecutor();
let folder = '';
let data = '';
let float: readonly Logits[] = [];

interface Logits {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

async function logitsOf(path: string): Promise<readonly Logits[]> {
  const program = await executor.openFile(path);
  const found: Logits[] = [];
  for (const sample of feeds) {
    const outputs = await program.run(sample);
    found.push({ shape: outputs['logits']!.shape, data: elements(outputs, 'logits') });
  }
  await program.close();
  return found;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'qc-schemes-'));
  data = join(folder, 'tokens.jsonl');
  writeFileSync(data, samples.map((ids) => JSON.stringify({ input_ids: ids })).join('\n'));
  float = await logitsOf(model);
});
afterAll(async () => {
  await executor.close();
  rmSync(folder, { recursive: true });
});

/** Every scheme by its own method. */
describe.each(schemes.map((s) => s.name))('scheme %s', (scheme) => {
  test.each(['portable', 'ort-cpu'])('for %s gives a model that loads, runs and stays near the float one', async (target) => {
    const output = join(folder, `${target}.onnx`);
    const passes = scheme.startsWith('os+') ? 'os+{steps=5}' : 'rptq';
    const report = await compile({ model, output, passes, scheme, target, data: { files: [data], seq, samples: 4 }, threads: 1 });
    expect(report.exactDifference).toBeLessThan(1e-4);
    const divergence = new Divergence();
    for (const [i, found] of (await logitsOf(output)).entries()) {
      expect(found.data.every(Number.isFinite)).toBe(true);
      divergence.add(float[i]!, found);
    }
    expect(divergence.figures.kl).toBeLessThan(scheme.includes('a3') || scheme.includes('int4') ? 1.5 : 0.5);
  });
});
