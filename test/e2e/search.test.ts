import { afterAll, expect, test } from '@jest/globals';
import { join } from 'node:path';
import { inferTypes } from '../../ir/index.ts';
import { capture } from '../../passes/search/capture.ts';
import { osPlusSites } from '../../passes/methods/os-plus/os-plus.ts';
import { bestThreshold, type ThresholdSettings } from '../../passes/methods/os-plus/threshold.ts';
import { openModel } from '../../src/model.ts';
import { OrtExecutor } from '../../src/runtime/ort-executor.ts';
import { fileSpool } from '../../src/runtime/spool.ts';
import { samplesFor } from '../../src/model-samples.ts';
import { passContext, runPipeline } from '../support/run.ts';

const demo = 'examples/demo';
const executor = new OrtExecutor();
afterAll(() => executor.close());

test.each(['w8a8', 'w4a8'])(
  'two passes find a loss within 1 percent of the least one at every site of a trained model, %s',
  async (scheme) => {
    const graph = openModel(join(demo, 'model.onnx'));
    const data = { files: [join(demo, 'calibration.txt')], tokenizer: join(demo, 'tokenizer.json'), seq: 128, samples: 8 };
    const samples = await samplesFor(graph, data);
    await runPipeline(executor, graph, `raise,fold-constants,tie-weights,mark-sites{scheme=${scheme}},observe,calibrate`, { samples });
    inferTypes(graph);
    const ctx = passContext(executor, samples);
    const searched = osPlusSites(graph, true, ctx);
    expect(searched).toHaveLength(8);
    const spool = fileSpool();
    const captured = await capture(graph, searched, { tokens: 256, batch: null, seed: 0 }, spool, ctx);
    const layout = { weights: 'auto', activations: 'auto', block: 32, multiples: false, gated: 'token' } as const;
    const settings: ThresholdSettings = { scheme, steps: null, low: 1, search: 'two-pass', ...layout };
    for (const one of searched) {
      const quick = await bestThreshold(graph, one, settings, captured, ctx);
      const all = await bestThreshold(graph, one, { ...settings, search: 'exhaustive' }, captured, ctx);
      expect(quick!.loss).toBeGreaterThanOrEqual(all!.loss);
      expect(quick!.loss).toBeLessThanOrEqual(1.01 * all!.loss);
    }
    await spool.close();
  },
  120_000,
);
