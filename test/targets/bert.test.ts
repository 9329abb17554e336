import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { readModel } from '../../codegen/index.ts';
import { runOnce, type Feeds } from '../../passes/index.ts';
import { compile } from '../../src/compile.ts';
import { elements, fixturePath, fixtureSamples, fusingExecutor, openFixture, opsOf, type FixtureName } from '../support/run.ts';

const executor = fusingExecutor();
const folder = mkdtempSync(join(tmpdir(), 'qc-bert-'));
const data = join(folder, 'samples.jsonl');
const samples = fixtureSamples('bert-tiny-op17', 16);
const line = (s: Feeds): string =>
  JSON.stringify(Object.fromEntries(Object.entries(s).map(([name, t]) => [name, [Array.from(t.data, Number)]])));
beforeAll(() => writeFileSync(data, samples.map(line).join('\n')));
afterAll(async () => {
  await executor.close();
  rmSync(folder, { recursive: true });
});

async function outputs(load: ReturnType<typeof executor.openFile>): Promise<readonly Float32Array[]> {
  const program = await load;
  const found: Float32Array[] = [];
  for (const s of samples) found.push(elements(await program.run(s), 'last_hidden_state'));
  await program.close();
  return found;
}

/** Signal over noise in dB, of the tokens that are not padding. */
function sqnr(float: readonly Float32Array[], other: readonly Float32Array[]): number {
  let [signal, noise] = [0, 0];
  float.forEach((y, s) =>
    y.forEach((x, i) => {
      if (Number(samples[s]!['attention_mask']!.data[Math.floor(i / 64)]) === 0) return;
      signal += x * x;
      noise += (x - other[s]![i]!) ** 2;
    }),
  );
  return 10 * Math.log10(signal / noise);
}

const calibration = { files: [data], seq: 12, samples: samples.length };

const compiled = async (name: FixtureName, target: string, passes: string, scheme = 'w8a8') => {
  const output = join(folder, `${name}-${target}-${passes.replace(/\W/g, '_')}-${scheme}.onnx`);
  const report = await compile({ model: fixturePath(name), output, passes, scheme, target, data: calibration, threads: 1 });
  return { output, report };
};

/** Post-LN, masked, as PyTorch's TorchScript exporter writes it: norms of opset 17, and in nine nodes. */
describe.each(['bert-tiny-op17', 'bert-tiny-op13'] as const)('%s, compiled at w8a8 after os+', (name) => {
  test.each(['ort-cpu', 'portable'])('for %s keeps 35 dB, well above what it keeps without os+', async (target) => {
    const float = await outputs(executor.load(openFixture(name)));
    const plain = sqnr(float, await outputs(executor.openFile((await compiled(name, target, 'none')).output)));
    const { output, report } = await compiled(name, target, 'os+');
    const better = sqnr(float, await outputs(executor.openFile(output)));
    // Measured: 38.0 dB, and 22.7 dB without.
    expect(better).toBeGreaterThan(35);
    expect(better).toBeGreaterThan(plain + 12);
    expect(report.exactDifference).toBeLessThan(1e-5);
    expect(report.loweringDifference).toBeLessThan(1e-5);
    // One Mul and one Add on the shortcut of every norm that OS+ changed, as in the paper; no Gather.
    expect(report.left).toEqual({ gathers: 0, muls: 4, adds: 4 });
    expect(report.ledger.filter((e) => e.kind === 'linear' && e.done.length === 0)).toEqual([]);
    const graph = readModel(output);
    expect(graph.metadata.get('qc.pipeline')).toBe(report.pipeline);
    expect(opsOf(graph).filter((op) => op.startsWith('qc.'))).toEqual([]);
    expect((await runOnce(executor, graph, samples[0]!))['last_hidden_state']!.shape).toEqual([1, 12, 64]);
  });
});
