import { statSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { readModel } from '../codegen/index.ts';
import { carriedOfGraph, carriedOfValue } from '../codegen/onnx/carried.ts';
import {
  bytesFor,
  eachGraph,
  eachNode,
  formatType,
  QcError,
  sites,
  sizeOf,
  type DType,
  type Graph,
  type Tensor,
  type Value,
} from '../ir/index.ts';
import { attentionsOf, cachesOf, isHead, isNorm, linearsOf, movedCaches, type MovedCache, type Refused } from '../passes/index.ts';
import { raisedModel } from './raised-model.ts';

/** What a model holds, as `qc inspect --json` prints it. */
export interface Inspection {
  readonly file: string;
  readonly bytes: number;
  readonly irVersion: number | null;
  /** By domain; the default one is called `ai.onnx`. */
  readonly opsets: Readonly<Record<string, number>>;
  readonly producer: { readonly name: string; readonly version: string };
  readonly inputs: readonly NamedType[];
  readonly outputs: readonly NamedType[];
  readonly nodes: number;
  /** Nodes by operator, bodies included, the most frequent first. */
  readonly operators: Readonly<Record<string, number>>;
  readonly parameters: Parameters;
  readonly externalFiles: readonly { readonly path: string; readonly bytes: number }[];
  /** What the model has in the words of the IR; null when it cannot be raised. */
  readonly recognised: Recognised | null;
  readonly notRecognised: string | null;
  /** What the model has of each kind, recognised or not; null when it cannot be raised. */
  readonly present: Present | null;
  /** What rules recognised in part and left; only with the option `why`. */
  readonly refused?: readonly Refused[];
  /** The inputs and outputs of caches that lie in another basis than that of the model which was compiled. */
  readonly movedCaches: readonly Pick<MovedCache, 'past' | 'present'>[];
  readonly metadata: Readonly<Record<string, string>>;
}

export interface NamedType {
  readonly name: string;
  /** `f32[batch,seq,64]`; null when the model does not say. */
  readonly type: string | null;
}

export interface Parameters {
  readonly count: number;
  readonly bytes: number;
  readonly byType: Readonly<Record<string, { readonly tensors: number; readonly count: number; readonly bytes: number }>>;
}

export interface Recognised {
  readonly linears: number;
  /** Linears that give a result of the model; they stay in float. */
  readonly heads: number;
  readonly norms: number;
  readonly attentions: number;
  /** Attentions with a cache. */
  readonly caches: number;
  /** Values that w8a8 quantizes, or that are marked already, by role. */
  readonly sites: Readonly<Record<string, number>>;
}

export interface Present {
  readonly linears: number;
  readonly norms: number;
  readonly attentions: number;
}

export interface InspectOptions {
  /** Whether to list what was recognised in part and left. */
  readonly why?: boolean | undefined;
}

/** Looks into a model without reading its weights. */
export async function inspect(path: string, { why = false }: InspectOptions = {}): Promise<Inspection> {
  const graph = readModel(path);
  const { model } = carriedOfGraph(graph);
  const nodes = [...eachNode(graph)];
  const tensors = tensorsOf(graph);
  const looked = {
    file: path,
    bytes: statSync(path).size,
    irVersion: model?.irVersion === undefined ? null : Number(model.irVersion),
    opsets: Object.fromEntries([...graph.opsets].map(([domain, version]) => [domain === '' ? 'ai.onnx' : domain, version])),
    producer: { name: model?.producerName ?? '', version: model?.producerVersion ?? '' },
    inputs: graph.inputs.filter((v) => !carriedOfValue(v).initial).map(named),
    outputs: graph.outputs.map(named),
    nodes: nodes.length,
    operators: countBy(nodes, (n) => n.op),
    parameters: parametersOf(tensors),
    externalFiles: externalFiles(path, tensors),
    movedCaches: movedCaches(graph.metadata).map(({ past, present }) => ({ past, present })),
    metadata: Object.fromEntries(graph.metadata),
  };
  const { refused, ...recognised } = await recognise(path);
  return { ...looked, ...recognised, ...(why ? { refused } : {}) };
}

const named = (v: Value): NamedType => ({ name: v.name, type: v.type && formatType(v.type) });

/** Every tensor once, however often it is used. */
export function tensorsOf(graph: Graph): readonly Tensor[] {
  const values = [...eachGraph(graph)].flatMap((g) => [...g.inputs, ...g.constants]);
  return [...new Set(values.flatMap((v) => v.constant ?? carriedOfValue(v).initial ?? []))];
}

function countBy<T>(items: readonly T[], key: (item: T) => string): Readonly<Record<string, number>> {
  const counts = new Map<string, number>();
  for (const item of items) counts.set(key(item), (counts.get(key(item)) ?? 0) + 1);
  return Object.fromEntries([...counts].sort(([a, n], [b, m]) => m - n || (a < b ? -1 : 1)));
}

function parametersOf(tensors: readonly Tensor[]): Parameters {
  const byType = new Map<DType, { tensors: number; count: number; bytes: number }>();
  for (const { dtype, shape } of tensors) {
    const sum = byType.get(dtype) ?? { tensors: 0, count: 0, bytes: 0 };
    const count = sizeOf(shape);
    byType.set(dtype, { tensors: sum.tensors + 1, count: sum.count + count, bytes: sum.bytes + bytesFor(dtype, count) });
  }
  const all = [...byType.values()];
  const total = (key: 'count' | 'bytes'): number => all.reduce((n, x) => n + x[key], 0);
  const largestFirst = [...byType].sort(([, a], [, b]) => b.bytes - a.bytes);
  return { count: total('count'), bytes: total('bytes'), byType: Object.fromEntries(largestFirst) };
}

function externalFiles(path: string, tensors: readonly Tensor[]): Inspection['externalFiles'] {
  const files = new Set(tensors.flatMap((t) => (t.origin.kind === 'file' && t.origin.path !== resolve(path) ? [t.origin.path] : [])));
  return [...files].sort().map((file) => ({ path: basename(file), bytes: statSync(file).size }));
}

async function recognise(path: string): Promise<Required<Pick<Inspection, 'recognised' | 'notRecognised' | 'present' | 'refused'>>> {
  try {
    const { graph, ledger } = await raisedModel(path);
    const linears = linearsOf(graph);
    const recognised = {
      linears: linears.length,
      heads: linears.filter((l) => isHead(graph, l)).length,
      norms: [...graph.nodes].filter(isNorm).length,
      attentions: attentionsOf(graph).length,
      caches: cachesOf(graph).length,
      sites: countBy(sites(graph), (s) => s.role),
    };
    const entered = countBy(ledger.entries, (e) => e.kind);
    // Marking enters candidates; a graph that is marked already holds what is recognised, at least.
    const present = {
      linears: Math.max(entered['linear'] ?? 0, recognised.linears),
      norms: Math.max(entered['norm'] ?? 0, recognised.norms),
      attentions: Math.max(entered['attention'] ?? 0, recognised.attentions),
    };
    return { notRecognised: null, refused: ledger.refused, recognised, present };
  } catch (error) {
    if (!(error instanceof QcError)) throw error;
    return { recognised: null, notRecognised: error.message, present: null, refused: [] };
  }
}
