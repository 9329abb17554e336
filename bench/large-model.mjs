/**
 * Time and peak memory of reading, inspecting and rewriting a model with 3 GB of external data: node bench/large-model.mjs
 * Each step runs in a process of its own, beside the bare start of node as the baseline. Needs 6 GB of disk.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { encodeGraph, readModel, writeModel } from '@onnx-qc/qc/codegen';
import { inspect } from '@onnx-qc/qc';
import { Graph, lazy, Node, tensorType } from '@onnx-qc/qc/ir';

const layers = 48;
const width = 4096;

/** A chain of products, every weight computed when it is written. */
function model() {
  const graph = new Graph('chain');
  let value = graph.addInput('x', tensorType('f32', ['batch', width]));
  for (let layer = 0; layer < layers; layer++) {
    const weight = lazy('f32', [width, width], () => new Float32Array(width * width).fill(layer / width));
    const node = new Node({
      op: 'MatMul',
      inputs: [value, graph.addConstant(`w${layer}`, weight)],
      results: [{ name: `h${layer}`, type: value.type }],
    });
    value = graph.append(node).output;
  }
  graph.addOutput(value);
  return graph;
}

/** @type {Record<string, (folder: string) => unknown>} */
const steps = {
  baseline: () => encodeGraph(new Graph('empty')),
  write: (folder) => writeModel(model(), join(folder, 'big.onnx'), { externalData: 'always' }),
  read: (folder) => readModel(join(folder, 'big.onnx')),
  inspect: (folder) => inspect(join(folder, 'big.onnx')),
  'round trip': (folder) => writeModel(readModel(join(folder, 'big.onnx')), join(folder, 'copy.onnx'), { externalData: 'always' }),
};

const [step, folder] = process.argv.slice(2);
if (step !== undefined && folder !== undefined) {
  const start = performance.now();
  await steps[step]?.(folder);
  console.log(JSON.stringify({ seconds: (performance.now() - start) / 1000, peak: process.resourceUsage().maxRSS / 1024 }));
} else {
  const scratch = mkdtempSync(join(tmpdir(), 'qc-bench-'));
  try {
    for (const name of Object.keys(steps)) {
      const { seconds, peak } = JSON.parse(
        execFileSync(process.execPath, [fileURLToPath(import.meta.url), name, scratch], { encoding: 'utf8' }),
      );
      console.log(`${name.padEnd(10)} ${seconds.toFixed(2)} s, peak memory ${peak.toFixed(0)} MB`);
    }
    const cli = fileURLToPath(new URL('../dist/src/cli/main.js', import.meta.url));
    const start = performance.now();
    execFileSync(process.execPath, [cli, 'inspect', join(scratch, 'big.onnx'), '--json']);
    console.log(`qc inspect ${((performance.now() - start) / 1000).toFixed(2)} s as a whole process`);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}
