import { expect, test } from '@jest/globals';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, parse } from 'node:path';
import { writeForRuntime } from '../../codegen/onnx/index.ts';
import { Graph, inMemory, Node, tensorType } from '../../ir/index.ts';
import { startSessionHost } from '../../src/runtime/session-host.ts';

const settings = {
  intraOpNumThreads: 2,
  executionProviders: ['cpu'],
  graphOptimizationLevel: 'all',
  extra: { session: { x64quantprecision: '1' } },
} as const;
const height = 768;

/** x times four weights of [768, width], one after another. */
function chain(width: number): Graph {
  const graph = new Graph('chain');
  let value = graph.addInput('x', tensorType('f32', [null, height]));
  for (let i = 0; i < 4; i++) {
    const shape = i % 2 === 0 ? [height, width] : [width, height];
    const weight = graph.addConstant(`w${i}`, inMemory('f32', shape, new Float32Array(height * width)));
    const type = tensorType('f32', [null, shape[1]!]);
    value = graph.append(new Node({ op: 'MatMul', inputs: [value, weight], results: [{ name: `y${i}`, type }] })).output;
  }
  graph.addOutput(value);
  return graph;
}

test('the memory of closed sessions goes back to the system', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'qc-memory-'));
  const host = startSessionHost();
  const feeds = { x: { type: 'float32', dims: [256, height], data: new Float32Array(256 * height) } } as const;
  try {
    const used = [];
    for (const [round, width] of [1024, 3072, 2048, 3000, 1024, 3072, 2500].entries()) {
      const path = join(folder, `${round}.onnx`);
      writeForRuntime(chain(width), path);
      const subject = { name: 'chain', path, nodes: new Map() };
      const session = await host.open(subject, settings, parse(path).root);
      await session.run(feeds);
      await session.close();
      used.push((await host.memory(subject)).now / 2 ** 20);
    }
    expect(used.at(-1)! - used[0]!).toBeLessThan(30);
  } finally {
    await host.end();
    rmSync(folder, { recursive: true });
  }
}, 60_000);
