import { int, type Attribute } from '../../ir/attributes.ts';
import { fail } from '../../ir/diagnostics.ts';
import { irOpset, Node, type Graph } from '../../ir/graph.ts';
import { int64s } from '../../ir/tensor.ts';
import { opHistory, type OpVersion } from './op-history.ts';

/** The opset that models are written in where nothing needs a later one. */
export const preferredOpset = 21;

/** Brings a model of an older opset to the IR's: every node means after it what it meant before. QC4104 names what cannot be converted. */
export function upgradeOpset(graph: Graph): void {
  const from = graph.opsets.get('') ?? 1;
  if (from >= irOpset) return;
  for (const node of [...allNodes(graph)]) if (!node.op.includes('.')) upgradeNode(node, from);
  graph.opsets.set('', irOpset);
}

/** Takes the oldest opset, not before 21, in which every node means the same as now. */
export function settleOpset(graph: Graph): void {
  const now = graph.opsets.get('') ?? irOpset;
  if (now <= preferredOpset) return;
  const nodes = [...allNodes(graph)].filter((n) => !n.op.includes('.'));
  const needed = nodes.reduce((least, node) => Math.max(least, leastOpset(node, now)), preferredOpset);
  graph.opsets.set('', Math.min(needed, now));
}

function* allNodes(graph: Graph): Generator<Node> {
  for (const node of graph.nodes) {
    yield node;
    for (const body of node.bodies) yield* allNodes(body);
  }
}

const versionIn = (op: string, opset: number): OpVersion | undefined => opHistory[op]?.findLast((v) => v.since <= opset);

function upgradeNode(node: Node, from: number): void {
  const later = (opHistory[node.op] ?? []).filter((v) => v.since > from && v.since <= irOpset);
  const adapter = adapters[node.op];
  if (later.some((v) => v.since === adapter?.since)) return adapter!.adapt(node);
  const broken = later.find((v) => v.breaking);
  if (broken || (hidden.has(node.op) && later.length > 0)) {
    fail(
      'QC4104',
      `${node.op} of opset ${from} changed its meaning in opset ${(broken ?? later[0])!.since}, and qc cannot convert it`,
      node.loc,
      {
        hint: 'export the model with opset 18 or later',
      },
    );
  }
}

/** Operators whose meaning changed where the signature does not show it. */
const hidden = new Set(['RoiAlign', 'Softmax', 'LogSoftmax', 'Hardmax']);

/** The oldest opset whose version of the operator takes this node as it is. */
function leastOpset(node: Node, now: number): number {
  const versions = (opHistory[node.op] ?? []).filter((v) => v.since <= now);
  let least = versions.at(-1)?.since ?? 1;
  for (let i = versions.length - 1; i > 0; i--) {
    const older = versions[i - 1]!;
    const fits = node.operands.length <= older.inputs && [...node.attributes.keys()].every((a) => older.attributes.includes(a));
    if (versions[i]!.breaking || (!fits && !isVariadic(node))) break;
    least = older.since;
  }
  return least;
}

const isVariadic = (node: Node): boolean => node.operands.length > (versionIn(node.op, irOpset)?.inputs ?? 0);

interface Adapter {
  /** The version at which the spelling changed. */
  readonly since: number;
  readonly adapt: (node: Node) => void;
}

/** Puts a node with other operands or attributes in the place of `node`. */
function respell(
  node: Node,
  extra: readonly { readonly name: string; readonly values: readonly number[] }[],
  attributes: ReadonlyMap<string, Attribute>,
): void {
  const graph = node.graph!;
  const added = extra.map((e) =>
    graph.addConstant(graph.freshName(`${node.outputs[0]!.name}.${e.name}`), int64s([e.values.length], e.values)),
  );
  const made = new Node({
    op: node.op,
    name: node.name,
    loc: node.loc,
    inputs: [...node.operands.map((u) => u.value), ...added],
    results: node.outputs.map((o) => ({ name: graph.freshName(o.name), type: o.type })),
    attributes: Object.fromEntries(attributes),
  });
  made.carried = node.carried;
  graph.insertBefore(node, made);
  node.outputs.forEach((o, i) => graph.replace(o, made.outputs[i]!));
  graph.erase(node);
}

const without = (node: Node, name: string): Map<string, Attribute> => new Map([...node.attributes].filter(([k]) => k !== name));

/** `axes` became the second operand. */
const axesToOperand = (since: number): Adapter => ({
  since,
  adapt(node) {
    const axes = node.attributes.get('axes');
    if (axes?.kind === 'ints') respell(node, [{ name: 'axes', values: axes.value.map(Number) }], without(node, 'axes'));
  },
});

/** `split` became an operand (13), and the number of equal parts must be said (18). */
const split: Adapter = {
  since: 18,
  adapt(node) {
    const sizes = node.attributes.get('split');
    if (sizes?.kind === 'ints') return respell(node, [{ name: 'split', values: sizes.value.map(Number) }], without(node, 'split'));
    if (node.input(1) === null) respell(node, [], new Map([...node.attributes, ['num_outputs', int(node.outputs.length)]]));
  },
};

const reductions = [
  'ReduceMean',
  'ReduceMax',
  'ReduceMin',
  'ReduceProd',
  'ReduceL1',
  'ReduceL2',
  'ReduceLogSum',
  'ReduceLogSumExp',
  'ReduceSumSquare',
];

const adapters: Readonly<Record<string, Adapter>> = {
  ...Object.fromEntries(reductions.map((op) => [op, axesToOperand(18)])),
  ReduceSum: axesToOperand(13),
  Squeeze: axesToOperand(13),
  Unsqueeze: axesToOperand(13),
  Split: split,
};
