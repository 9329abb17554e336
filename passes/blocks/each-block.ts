import type { Graph } from '../../ir/graph.ts';
import { eraseDead } from '../../ir/rewrite.ts';
import { inferTypes } from '../../ir/shapes/infer.ts';
import { extract, putBack, sliceOf, type Slice } from '../../ir/slice.ts';
import { pick, typeOfArray, type Spool } from '../infra/executor.ts';
import { choice } from '../infra/options.ts';
import { definePass, sampleAt, type PassContext, type Samples } from '../infra/pass.ts';
import { fail } from '../../ir/diagnostics.ts';
import { blocks } from './blocks.ts';

/**
 * Runs the passes that it holds block by block: `each-block(calibrate,rptq,fold-channels,quantize)`. In parallel every block sees what the
 * float model gives it, so each pass goes over all blocks by itself; in sequence a block sees what the blocks before it give when they
 * are quantized, as in the code of both papers.
 */
export const eachBlock = definePass({
  name: 'each-block',
  summary: 'run the passes in parentheses block by block',
  contract: 'approximate',
  holds: true,
  options: {
    order: choice(
      'what a block is fed with: float activations, or those of the quantized blocks before it',
      ['parallel', 'sequential'],
      'parallel',
    ),
  },
  async run(graph, ctx, { order }) {
    if (order === 'parallel') await ctx.inner!.onWhole(graph);
    else await inSequence(graph, ctx);
  },
});

async function inSequence(graph: Graph, ctx: PassContext): Promise<void> {
  const samples = ctx.services.samples;
  if (!samples || samples.length === 0) fail('QC2101', 'blocks in sequence are fed with samples, and there are none');
  inferTypes(graph);
  const parts = blocks(graph, 1);
  // Names, because the values themselves are others once their block has been put back.
  const reads = parts.map((p) => p.inputs.map((v) => v.name));
  const always = new Set(graph.inputs.map((v) => v.name));
  const spool = ctx.services.spool();
  try {
    for (let s = 0; s < samples.length; s++) await spool.put(String(s), await sampleAt(samples, s));
    for (const [k, { nodes }] of parts.entries()) {
      const alive = new Set([...always, ...reads.slice(k + 1).flat()]);
      await runOn(sliceOf(graph, nodes), { graph, spool, alive, count: samples.length }, ctx);
      ctx.count('blocks');
      ctx.progress(k + 1, parts.length, 'blocks');
    }
    eraseDead(graph);
  } finally {
    await spool.close();
  }
}

interface Place {
  readonly graph: Graph;
  readonly spool: Spool;
  /** Names of what later blocks read, and of the inputs of the graph. */
  readonly alive: ReadonlySet<string>;
  readonly count: number;
}

async function runOn(block: Slice, place: Place, ctx: PassContext): Promise<void> {
  const { graph, spool, count } = place;
  const first = await spool.get('0');
  const { graph: part } = extract('block', block, block.outputs, (v) => v.type ?? typeOfArray(first[v.name]));
  withMask(part, graph, ctx.services.mask);
  await ctx.inner!.onPart(part, samplesIn(spool, part, count));
  eraseDead(part);
  if (block.outputs.some((v) => place.alive.has(v.name))) await feedOn(part, place, ctx);
  putBack(graph, block, part);
}

/** A block that does not read the mask gets it as an input all the same: observers leave padding out by it. */
function withMask(part: Graph, graph: Graph, name: string | null): void {
  const mask = graph.inputs.find((v) => v.name === name);
  if (mask && !part.inputs.some((v) => v.name === name)) part.addInput(mask.name, mask.type);
}

/** What a block reads of each sample. */
const samplesIn = (spool: Spool, part: Graph, length: number): Samples => ({
  length,
  at: async (s) =>
    pick(
      await spool.get(String(s)),
      part.inputs.map((v) => v.name),
    ),
});

/** Runs the block as it is now, and leaves what later blocks read. */
async function feedOn(part: Graph, { spool, alive, count }: Place, ctx: PassContext): Promise<void> {
  const program = await ctx.services.executor.load(part);
  try {
    const inputs = samplesIn(spool, part, count);
    for (let s = 0; s < count; s++) {
      ctx.signal.throwIfAborted();
      const outputs = await program.run(await sampleAt(inputs, s));
      await spool.put(String(s), pick({ ...(await spool.get(String(s))), ...outputs }, alive));
    }
  } finally {
    await program.close();
  }
}
