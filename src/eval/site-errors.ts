import { upgradeOpset } from '../../codegen/index.ts';
import {
  cloneGraph,
  encodeFloats,
  eraseDead,
  floats,
  inferTypes,
  inMemory,
  type Graph,
  type Node,
  type Tensor,
  traitsOf,
  type Value,
} from '../../ir/index.ts';
import {
  giveOut,
  isAttention,
  isNorm,
  linearsOf,
  PassManager,
  passes,
  sweep,
  type Feeds,
  type HostTensor,
  type Services,
  type SweepContext,
} from '../../passes/index.ts';
import { fail } from '../../ir/diagnostics.ts';
import type { ModelInput } from '../data/inputs.ts';
import { Noise } from './noise.ts';
import { floatElements } from './float-elements.ts';

/** The quantization error of a value inside a model. */
export interface SiteError {
  readonly name: string;
  /** Signal by noise in dB; null when equal. */
  readonly sqnr: number | null;
}

export interface SiteSettings {
  /** The input that takes tokens. */
  readonly tokens: ModelInput | null;
  readonly ctx: SweepContext;
  /** Bytes of constants that a block has at least. */
  readonly least: number;
  readonly onProgress?: ((done: number, total: number, what: string) => void) | undefined;
}

/** Bytes of values that one run may give back, of each model. */
const budget = 256 * 2 ** 20;

/**
 * Compares the results of linears and norms that have the same name and the same basis in both models, on a few windows. As
 * many values as fit into the budget become outputs of copies of the models at a time, which run block by block.
 */
export async function siteErrors(
  float: Graph,
  model: Graph,
  windows: readonly Feeds[],
  settings: SiteSettings,
): Promise<readonly SiteError[]> {
  const raised = await raise(float);
  const there = resultsOf(model);
  const wanted = comparable(raised, model).filter((v) => there.has(v.name));
  const chunks = chunked(wanted, mostTokens(windows, settings.tokens));
  const errors: SiteError[] = [];
  for (const [i, chunk] of chunks.entries()) {
    errors.push(...(await compareChunk(exposing(raised, chunk), exposing(model, chunk), windows, settings)));
    settings.onProgress?.(i + 1, chunks.length, 'groups of sites');
  }
  return errors;
}

async function compareChunk(float: Graph, model: Graph, windows: readonly Feeds[], settings: SiteSettings): Promise<readonly SiteError[]> {
  const found = new Map(float.outputs.map((v) => [v.name, new Noise()]));
  const spool = settings.ctx.services.spool();
  try {
    await eachOutput(float, windows, settings, async (name, s, value) => spool.put(`${name} ${s}`, { value }));
    await eachOutput(model, windows, settings, async (name, s, value) => {
      const [x, y] = [floatElements((await spool.get(`${name} ${s}`))['value']), floatElements(value)];
      if (x && y && x.length === y.length) found.get(name)?.add(x, y);
      else found.delete(name);
    });
  } finally {
    await spool.close();
  }
  return [...found].map(([name, noise]) => ({ name, sqnr: noise.sqnr }));
}

/** Runs a graph block by block and hands on each of its outputs, once for each window. */
async function eachOutput(
  graph: Graph,
  windows: readonly Feeds[],
  { ctx, least }: SiteSettings,
  take: (name: string, window: number, value: HostTensor) => Promise<void>,
): Promise<void> {
  const taken = new Set<string>();
  await sweep(graph, windows, ctx, {
    least,
    augment: (block, copies) => giveOut(block, copies, graph.outputs),
    async onSample(s, values) {
      for (const { name } of graph.outputs) {
        const value = values[name];
        // A value that later blocks read is among the values there again.
        if (!value || taken.has(`${name} ${s}`)) continue;
        taken.add(`${name} ${s}`);
        await take(name, s, value);
      }
    },
  });
}

/** The float model in the words of the IR, which computes the same: compiled models have the names that it has. */
async function raise(graph: Graph): Promise<Graph> {
  const copy = cloneGraph(graph);
  upgradeOpset(copy);
  const refuse = (): never => fail('QC9001', 'raising runs nothing');
  const services: Services = { executor: { load: refuse }, spool: refuse, store: refuse, samples: null, mask: null, statistics: null };
  await new PassManager(passes).plan('raise').run(copy, { services, contract: null });
  return copy;
}

const resultsOf = (graph: Graph): ReadonlySet<string> => new Set([...graph.nodes].flatMap((n) => n.outputs.map((o) => o.name)));

/** Results of linears and norms whose channels mean the same in both models. */
function comparable(raised: Graph, model: Graph): readonly Value[] {
  const untouched = !model.metadata.has('qc.pipeline');
  const nodes = new Map([...model.nodes].map((n) => [n.outputs[0]?.name ?? '', n]));
  const linears = linearsOf(raised).map((l) => biased(l.node));
  const fixed = new Set(linears.filter((v) => untouched || !isFree(v, raised)));
  const isSame = (n: Node): boolean => untouched || sameConstants(n, nodes.get(n.output.name));
  return [...raised.nodes].flatMap((n) => n.outputs).filter((v) => fixed.has(v) || (isNorm(v.producer) && isSame(v.producer!)));
}

/** The result of a linear with its bias. */
function biased(node: Node): Value {
  const next = node.output.soleUse?.node;
  return next?.op === 'Add' && next.input(1)?.constant ? next.output : node.output;
}

/** Whether all readers of a value let a change of basis through, so that passes may have changed it. */
function isFree(v: Value, graph: Graph): boolean {
  if (graph.outputs.includes(v)) return false;
  return [...v.uses].every(({ node, index }) => {
    if (node.op === 'MatMul') return index === 0 && node.input(1)?.constant !== null;
    if (node.op === 'Add' && node.input(1)?.constant) return isFree(node.output, graph);
    return isAttention(node) || node.op === 'Shape' || (traitsOf(node.op).elementwise !== undefined && isFree(node.output, graph));
  });
}

/** Norms are never quantized: another gain or bias is another basis. */
function sameConstants(a: Node, b: Node | undefined): boolean {
  const constants = (n: Node): readonly Tensor[] => n.operands.flatMap((u) => u.value?.constant ?? []);
  const [x, y] = [constants(a), b?.op === a.op ? constants(b) : []];
  return x.length === y.length && x.every((t, i) => sameNumbers(t, y[i]!));
}

/** Whether two tensors hold the same, up to the rounding of the second's element type. */
function sameNumbers(a: Tensor, b: Tensor): boolean {
  const rounded = a.dtype === 'f32' && b.dtype === 'f16' ? inMemory('f16', a.shape, encodeFloats('f16', floats(a))) : a;
  return Buffer.compare(rounded.bytes(), b.bytes()) === 0;
}

/** A copy of the graph that gives these values and computes nothing else. */
function exposing(graph: Graph, wanted: readonly Value[]): Graph {
  const copy = cloneGraph(graph);
  const types = new Map(wanted.map((v) => [v.name, v.type]));
  copy.setOutputs([...copy.nodes].flatMap((node) => node.outputs.filter((out) => types.has(out.name))));
  inferTypes(copy);
  for (const out of copy.outputs) if (out.type === null) copy.setType(out, types.get(out.name) ?? null);
  eraseDead(copy);
  return copy;
}

/** Tokens of the longest window; a guess for a model without tokens. */
const mostTokens = (windows: readonly Feeds[], tokens: ModelInput | null): number =>
  Math.max(1, ...windows.map((w) => w[tokens?.name ?? '']?.data.length ?? 256));

function chunked(values: readonly Value[], tokens: number): readonly (readonly Value[])[] {
  const chunks: Value[][] = [];
  let bytes = Infinity;
  for (const v of values) {
    const channels = v.type?.shape?.at(-1);
    const size = 4 * tokens * (typeof channels === 'number' ? channels : 4096);
    if (bytes + size > budget) {
      chunks.push([]);
      bytes = 0;
    }
    chunks.at(-1)!.push(v);
    bytes += size;
  }
  return chunks;
}
