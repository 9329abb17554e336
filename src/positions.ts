import { cloneGraph, inferTypes, traitsOf, type Graph, type Node, type Value } from '../ir/index.ts';
import { integers } from '../ir/tensor.ts';
import { sizeOf, type Dim } from '../ir/types.ts';
import { roleOf, type ModelInputs } from './data/inputs.ts';

/**
 * Tokens of the longest sequence that a model has positions for: the least that its tables of positions, its rotary tables and its
 * causal masks reach, where these are constants. Null when none is found. Caches count as empty.
 */
export function positionsOf(graph: Graph, inputs: ModelInputs): number | null {
  if (!inputs.tokens) return null;
  const typed = cloneGraph(graph);
  inferTypes(typed);
  const reach = reaching(typed, inputs);
  const limits = nodesIn(typed)
    .flatMap((node) => limitAt(node, reach) ?? [])
    .filter((limit) => limit > 0);
  return limits.length === 0 ? null : Math.min(...limits);
}

/** All nodes, those of branches too, each behind what it reads. */
const nodesIn = (graph: Graph): readonly Node[] => [...graph.nodes].flatMap((node) => [...node.bodies.flatMap(nodesIn), node]);

/** The largest number in a value, for a sequence of n tokens: `perToken` n + `plus`. */
interface Reach {
  readonly perToken: 0 | 1;
  readonly plus: number;
}

type ReachOf = (v: Value | null) => Reach | null;

const fixed = (plus: number): Reach => ({ perToken: 0, plus });
const length: Reach = { perToken: 1, plus: 0 };
const flag = fixed(1);

/** The longest sequence that a constant table at this node has rows for; null where the length does not index any. */
function limitAt(node: Node, reach: ReachOf): number | null {
  switch (node.op) {
    case 'Gather': {
      const index = reach(node.input(1));
      const rows = tableShape(node.input(0))?.at(intOf(node, 'axis', 0));
      return rows !== undefined && index?.perToken === 1 ? rows - 1 - index.plus : null;
    }
    case 'Slice': {
      const end = reach(node.input(2));
      const extent = slicedExtent(node);
      // An extent of 1 broadcasts, however long the sequence is.
      return extent !== null && extent > 1 && end?.perToken === 1 ? extent - end.plus : null;
    }
    case 'com.microsoft.GroupQueryAttention':
      return intOf(node, 'do_rotary', 0) === 1 ? (tableShape(node.input(7))?.[0] ?? null) : null;
    case 'RotaryEmbedding':
      return node.input(3) ? (tableShape(node.input(1))?.[0] ?? null) : null;
    case 'com.microsoft.RotaryEmbedding':
      return tableShape(node.input(2))?.[0] ?? null;
    default:
      return null;
  }
}

/** The extent of a constant along the one axis that a Slice cuts. */
function slicedExtent(node: Node): number | null {
  const shape = tableShape(node.input(0));
  const axes = node.input(3) ? indices(node.input(3)) : [0];
  return shape && axes?.length === 1 ? (shape.at(axes[0]!) ?? null) : null;
}

/** Element types and scales of a table do not matter here. */
function tableShape(v: Value | null): readonly number[] | null {
  if (v?.constant) return v.constant.shape;
  const producer = v?.producer;
  return producer && keepsRows(producer) ? tableShape(producer.input(0)) : null;
}

/** Whether a table has the rows that its maker reads; its columns may come in another order. */
const keepsRows = (node: Node): boolean =>
  ['Cast', 'Identity', 'DequantizeLinear'].includes(node.op) || (node.op === 'Gather' && intOf(node, 'axis', 0) === -1);

/** Follows numbers from the lengths and inputs that they are made of. */
function reaching(graph: Graph, inputs: ModelInputs): ReachOf {
  const known = new Map<Value, Reach | null>();
  for (const v of graph.inputs) known.set(v, reachOfInput(v, inputs));
  const extents = extentsIn(graph, inputs);
  const of: ReachOf = (v) => {
    if (v === null) return null;
    if (!known.has(v)) known.set(v, v.constant ? largestIn(v) : (ruleFor(v.producer?.op ?? '')?.(v.producer!, of, extents) ?? null));
    return known.get(v)!;
  };
  // In their order, so that no chain of nodes is deeper than the stack.
  for (const node of nodesIn(graph)) of(node.outputs[0] ?? null);
  return of;
}

function reachOfInput(v: Value, inputs: ModelInputs): Reach | null {
  const input = inputs.all.find(({ name }) => name === v.name);
  const role = input ? roleOf(input, inputs) : null;
  if (role === 'mask') return flag;
  return role === 'positions' ? { perToken: 1, plus: -1 } : null;
}

/** How large an extent is. */
type ExtentReach = (d: Dim) => Reach | null;

function extentsIn(graph: Graph, inputs: ModelInputs): ExtentReach {
  const lengths = new Set<Dim>();
  const past = new Set<Dim>();
  for (const v of graph.inputs) {
    const input = inputs.all.find(({ name }) => name === v.name);
    const role = input ? roleOf(input, inputs) : null;
    const last = v.type?.shape?.length === 2 ? v.type.shape[1] : undefined;
    if ((role === 'tokens' || role === 'mask') && typeof last === 'string') lengths.add(last);
    if (role === 'cache') for (const d of v.type?.shape?.slice(1) ?? []) if (typeof d === 'string') past.add(d);
  }
  return (d) => (typeof d === 'number' ? fixed(d) : lengths.has(d) ? length : past.has(d) ? fixed(0) : null);
}

/** Constants with more elements hold no positions. */
const mostPositions = 2 ** 20;

/** The elements of a constant that may hold positions, extents or axes; null for other values. */
function indices(v: Value | null): readonly number[] | null {
  const t = v?.constant;
  return t && (t.dtype === 'i64' || t.dtype === 'i32') && sizeOf(t.shape) <= mostPositions ? integers(t) : null;
}

function largestIn(v: Value): Reach | null {
  const numbers = indices(v);
  return numbers && numbers.length > 0 ? fixed(numbers.reduce((most, x) => Math.max(most, x), -Infinity)) : null;
}

type Rule = (node: Node, of: ReachOf, extents: ExtentReach) => Reach | null;

const likeFirst: Rule = (node, of) => of(node.input(0));
const isFlag: Rule = () => flag;

const rules: Readonly<Record<string, Rule>> = {
  Expand: likeFirst,
  ...Object.fromEntries(['Not', 'Equal', 'And', 'Or', 'Greater', 'GreaterOrEqual', 'Less', 'LessOrEqual'].map((op) => [op, isFlag])),
  Shape: (node, _, extents) => onlyExtent(shapeElements(node), extents),
  Gather: (node, _, extents) => onlyExtent(chosenExtents(node), extents),
  Slice: (node, of, extents) => {
    if (isShape(node.input(0))) return onlyExtent(slicedExtents(node), extents);
    return isCount(node.input(0)) ? before(of(node.input(2))) : of(node.input(0));
  },
  Range: (node, of) => before(of(node.input(1))),
  CumSum: (node, of) => (isOne(of(node.input(0))) ? length : null),
  Add: (node, of) => sum(of(node.input(0)), of(node.input(1)), node),
  Sub: (node, of) => {
    const [a, b] = [of(node.input(0)), scalarOf(node.input(1))];
    return a && b !== null ? { ...a, plus: a.plus - b } : null;
  },
  Mul: (node, of) => {
    const [a, b] = [of(node.input(0)), of(node.input(1))];
    return isOne(a) ? b : isOne(b) ? a : null;
  },
};

const ruleFor = (op: string): Rule | undefined => (traitsOf(op).holds === 'all' ? likeFirst : rules[op]);

const before = (reach: Reach | null): Reach | null => reach && { ...reach, plus: reach.plus - 1 };
const isOne = (reach: Reach | null): boolean => reach?.perToken === 0 && reach.plus === 1;

/** A sum of two numbers, or of numbers and one constant: sums of larger values need not reach as far as their parts. */
function sum(a: Reach | null, b: Reach | null, node: Node): Reach | null {
  const isSingle = node.operands.some(({ value }) => value?.constant && sizeOf(value.constant.shape) === 1);
  const areSingle = node.operands.every(({ value }) => value?.type?.shape && sizeOf(value.type.shape.map((d) => (d === 1 ? 1 : 2))) === 1);
  if (!a || !b || !(isSingle || areSingle) || a.perToken + b.perToken > 1) return null;
  return { perToken: a.perToken === 1 || b.perToken === 1 ? 1 : 0, plus: a.plus + b.plus };
}

function scalarOf(v: Value | null): number | null {
  const numbers = indices(v);
  return numbers?.length === 1 ? numbers[0]! : null;
}

const isShape = (v: Value | null): boolean => v?.producer?.op === 'Shape';

/** The extents that a Shape gives, of which its attributes may choose some. */
function shapeElements(node: Node): readonly Dim[] | null {
  const shape = node.input(0)?.type?.shape ?? null;
  return shape && shape.slice(intOf(node, 'start', 0), intOf(node, 'end', shape.length));
}

/** The extents that a Gather chooses from a Shape. */
function chosenExtents(node: Node): readonly Dim[] | null {
  const [from, index] = [node.input(0), indices(node.input(1))];
  const extents = isShape(from) ? shapeElements(from!.producer!) : null;
  return extents && index && index.map((i) => extents.at(i) ?? null);
}

/** The extents that a Slice cuts from a Shape. */
function slicedExtents(node: Node): readonly Dim[] | null {
  const extents = shapeElements(node.input(0)!.producer!);
  const [start, end] = [scalarOf(node.input(1)), scalarOf(node.input(2))];
  return extents && start !== null && end !== null ? extents.slice(start, Math.min(end, extents.length)) : null;
}

const onlyExtent = (extents: readonly Dim[] | null, reach: ExtentReach): Reach | null =>
  extents?.length === 1 ? reach(extents[0]!) : null;

/** Whether a constant counts 0, 1, 2, ...: the buffer of positions of BERT. */
function isCount(v: Value | null): boolean {
  const numbers = indices(v);
  return numbers !== null && v!.type?.shape?.at(-1) === numbers.length && numbers.every((x, i) => x === i);
}

function intOf(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.kind === 'int' ? Number(attribute.value) : fallback;
}
