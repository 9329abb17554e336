import { Builder } from '../../../ir/builder.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { Reshape, Slice, Where } from '../../../ir/ops/generated.ts';
import { minus } from '../../../ir/shapes/dims.ts';
import { tensorType, type Dim } from '../../../ir/types.ts';

/** A value that one branch alone reads: all of its tokens where that branch runs, and none where the other one does. */
export interface OwnValue {
  readonly value: Value;
  readonly axis: number;
  /** Its tokens, before they are cut. */
  readonly tokens: string;
  readonly cut: Value;
  /** The extent of `cut`. */
  readonly left: Dim;
}

export type OwnValues = ReadonlyMap<Value, OwnValue>;

/** An If by its parts, with what each branch reads alone. */
export interface Branches {
  readonly condition: Value;
  readonly then: Graph;
  readonly otherwise: Graph;
  readonly own: { readonly then: OwnValues; readonly otherwise: OwnValues };
}

/** What each branch reads alone, cut in front of the If. */
export function ownValues(node: Node, then: Graph, otherwise: Graph): Branches['own'] {
  const [a, b] = [outerValues(then), outerValues(otherwise)];
  const build = Builder.before(node);
  const condition = oneElement(build, node.input(0)!);
  const [all, none] = [build.ints('all', [Number.MAX_SAFE_INTEGER]), build.ints('none', [0])];
  const ends = (x: Value, y: Value): Value => build.make(Where, { condition, x, y }, { like: x, type: tensorType('i64', [1]) }).output;
  const [thenEnds, otherwiseEnds] = [ends(all, none), ends(none, all)];
  const onlyIn = (own: readonly Value[], other: readonly Value[]): readonly Value[] => own.filter((v) => !other.includes(v));
  const cuts = (values: readonly Value[], end: Value, leftOf: (tokens: string) => Dim): OwnValues =>
    new Map(values.flatMap((v) => cutOf(build, v, end, leftOf) ?? []).map((own) => [own.value, own]));
  const cached = (tokens: string): string => `${tokens}_cached`;
  return {
    then: cuts(onlyIn(a, b), thenEnds, cached),
    otherwise: cuts(onlyIn(b, a), otherwiseEnds, (tokens) => minus(tokens, cached(tokens))),
  };
}

/** Values of the graphs around that a body reads, but constants. */
const outerValues = (body: Graph): readonly Value[] => [
  ...new Set([...body.nodes].flatMap((n) => n.operands.flatMap(({ value }) => (value && isOuter(value, body) ? [value] : [])))),
];

const isOuter = (v: Value, body: Graph): boolean => !v.constant && v.producer?.graph !== body;

function oneElement(build: Builder, condition: Value): Value {
  if (condition.type?.shape?.length === 1) return condition;
  return build.make(Reshape, { data: condition, shape: build.ints('one', [1]) }, { like: condition, type: tensorType('bool', [1]) })
    .reshaped;
}

/** Null for a value that has not one axis of tokens: an extent beside that of the batch that is a symbol. */
function cutOf(build: Builder, value: Value, ends: Value, leftOf: (tokens: string) => Dim): OwnValue | null {
  const { dtype, shape } = value.type ?? {};
  const open = (shape ?? []).flatMap((d, axis) => (axis > 0 && typeof d === 'string' ? [{ axis, tokens: d }] : []));
  const [only, ...more] = open;
  if (!dtype || !shape || !only || more.length > 0 || !/^\w+$/.test(only.tokens)) return null;
  const left = leftOf(only.tokens);
  const type = tensorType(
    dtype,
    shape.map((d, axis) => (axis === only.axis ? left : d)),
  );
  const operands = { data: value, starts: build.ints('start', [0]), ends, axes: build.ints('axis', [only.axis]) };
  return { value, ...only, left, cut: build.make(Slice, operands, { like: value, type }).output };
}
