import { readModel, upgradeOpset } from '../codegen/index.ts';
import { fail, traitsOf, viewAs, type Graph, type Value } from '../ir/index.ts';
import { Gather } from '../ir/ops/generated.ts';
import type { Feeds, HostTensor } from '../passes/index.ts';
import { arrayType } from './data/fit.ts';
import { modelInputs, roleOf, type ModelInput, type ModelInputs } from './data/inputs.ts';
import { random } from '../ir/text/numbers.ts';
import { sizeOf, type Dim } from '../ir/types.ts';

/** A model as those who run it see it: inputs that have a default are none. */
export const lookInto = (path: string): Graph => readModel(path, { purpose: 'compile' });

/** Reads a model and brings it to the opset of the IR. */
export function openModel(path: string): Graph {
  const graph = lookInto(path);
  upgradeOpset(graph);
  return graph;
}

/** The inputs that a caller must feed. */
export const inputsOf = (graph: Graph): readonly ModelInput[] => graph.inputs.flatMap((v) => (v.type ? [{ name: v.name, ...v.type }] : []));

/** Throws QC2103 for a model with an input that takes no array of numbers: strings, sequences, maps. */
export function checkFeedable(graph: Graph): void {
  for (const { name, type } of graph.inputs) {
    if (!type) fail('QC2103', `input "${name}" of the model is no tensor, so it takes no array`);
    arrayType({ name, ...type });
  }
}

/** Rows of the table that the tokens index; null when there is no such table. */
export function vocabularyOf(graph: Graph, tokens: ModelInput | null): number | null {
  const ids = graph.inputs.find((v) => v.name === tokens?.name);
  return ids ? rowsIndexedBy(ids) : null;
}

function rowsIndexedBy(ids: Value): number | null {
  for (const use of ids.uses) {
    const gather = viewAs(Gather, use.node);
    if (gather && use.index === 1 && gather.data.constant) return gather.data.constant.shape[gather.axis] ?? null;
    const further = traitsOf(use.node.op).holds === 'all' && use.index === 0 ? rowsIndexedBy(use.node.output) : null;
    if (further !== null) return further;
  }
  return null;
}

/** How long made-up inputs are where the model leaves it open. */
export interface Lengths {
  /** Tokens that go in. */
  readonly sequence: number;
  /** Tokens in the caches, for a model that takes any. */
  readonly past: number;
}

/** Inputs made up for checking that a pass kept the function: valid indices, masks of ones, small numbers. Never for calibration. */
export function syntheticFeeds(graph: Graph, lengths: Lengths = { sequence: 16, past: 0 }): Feeds {
  const next = random(1);
  const inputs = modelInputs(inputsOf(graph));
  return Object.fromEntries(graph.inputs.flatMap((v) => (v.type ? [[v.name, synthetic(v, inputs, lengths, next)] as const] : [])));
}

function synthetic(v: Value, inputs: ModelInputs, lengths: Lengths, next: () => number): HostTensor {
  const { dtype } = v.type!;
  const shape = (v.type!.shape ?? []).map((d, axis) => extentFor(d, axis, lengths));
  const count = sizeOf(shape);
  const role = roleOf({ name: v.name, ...v.type! }, inputs);
  const rows = rowsIndexedBy(v);
  const integer = (i: number): number => {
    if (role === 'positions') return lengths.past + (i % (shape.at(-1) ?? 1));
    if (rows !== null) return (i * 7919 + 3) % rows;
    return role === 'mask' || v.name.includes('mask') ? 1 : 0;
  };
  switch (dtype) {
    case 'i64':
      return { dtype, shape, data: BigInt64Array.from({ length: count }, (_, i) => BigInt(integer(i))) };
    case 'i32':
      return { dtype, shape, data: Int32Array.from({ length: count }, (_, i) => integer(i)) };
    case 'f32':
      return { dtype, shape, data: Float32Array.from({ length: count }, () => next()) };
    case 'f64':
      return { dtype, shape, data: Float64Array.from({ length: count }, () => next()) };
    case 'f16':
      return { dtype, shape, data: new Uint16Array(count).fill(0x3800) };
    default:
      return { dtype, shape, data: new Uint8Array(count).fill(role === 'cache-branch' && lengths.past === 0 ? 0 : 1) };
  }
}

/** One sample; a mask covers past and present; every other open extent is the sequence. */
const extentFor = (d: Dim, axis: number, { sequence, past }: Lengths): number => {
  if (typeof d === 'number') return d;
  if (axis === 0) return 1;
  const isSum = typeof d === 'string' && /total|\+/.test(d);
  const isPast = typeof d === 'string' && /past/.test(d);
  return isSum ? past + sequence : isPast ? past : sequence;
};
