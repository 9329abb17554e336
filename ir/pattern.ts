import type { Value } from './graph.ts';
import type { OpClass, OpView } from './ops/view.ts';

export type Bindings = Record<string, unknown>;

/** A test on a value that binds names; `C` is the record of the names and what they hold. */
export interface Pattern<C> {
  readonly match: (value: Value | null, into: Bindings) => boolean;
  readonly captures?: C;
}

type CapturesOf<P> = P extends Pattern<infer C> ? C : never;
type Merge<U> = (U extends unknown ? (u: U) => void : never) extends (i: infer I) => void ? I : never;
type Flat<T> = { [K in keyof T]: T[K] };
type InputName<S extends OpClass> = S['schema']['inputs'][number]['name'];
type InputsFor<S extends OpClass> = { readonly [K in InputName<S>]?: Pattern<unknown> };

const bind = (into: Bindings, name: string, found: unknown): boolean =>
  name in into ? into[name] === found : ((into[name] = found), true);

/** Any value. The same name twice must meet the same value. */
export const any = <K extends string>(name: K): Pattern<{ [P in K]: Value }> => ({ match: (v, into) => v !== null && bind(into, name, v) });

/** A value whose data is known now. */
export const constant = <K extends string>(name: K): Pattern<{ [P in K]: Value }> => ({
  match: (v, into) => v?.constant != null && bind(into, name, v),
});

/** The first result of a `cls` node whose operands match `inputs`; binds the view under `as`. */
export function op<S extends OpClass, K extends string, const I extends InputsFor<S>>(
  cls: S,
  as: K,
  inputs: I,
): Pattern<Flat<{ [P in K]: InstanceType<S> } & Merge<{ [N in keyof I]: CapturesOf<I[N]> }[keyof I]>>> {
  const names: readonly string[] = cls.schema.inputs.map((f) => f.name);
  const tests = Object.entries(inputs).map(([n, p]) => [names.indexOf(n), p as Pattern<unknown>] as const);
  return {
    match(v, into) {
      const node = v?.producer;
      if (!node || node.op !== cls.schema.op || node.outputs[0] !== v) return false;
      return tests.every(([i, p]) => p.match(node.input(i), into)) && bind(into, as, viewOf(cls, node, into[as]));
    },
  };
}

/** One view for one node within a match, so that the same name twice compares equal. */
function viewOf(cls: OpClass, node: OpView['node'], bound: unknown): unknown {
  return bound && (bound as OpView).node === node ? bound : new cls(node);
}

/** A commutative operator: `inputs` in either order of the first two operands. */
export function either<S extends OpClass, K extends string, const I extends InputsFor<S>, const J extends InputsFor<S>>(
  cls: S,
  as: K,
  inputs: I,
  swapped: J,
): ReturnType<typeof op<S, K, I>> {
  const [first, second] = [op(cls, as, inputs), op(cls, as, swapped)];
  return { match: (v, into) => attempt(first, v, into) || attempt(second, v, into) };
}

/** Matches or leaves `into` as it was. */
function attempt(p: Pattern<unknown>, v: Value | null, into: Bindings): boolean {
  const trial = { ...into };
  if (!p.match(v, trial)) return false;
  Object.assign(into, trial);
  return true;
}

/** `p`, and nothing else reads the value: no other node, and not the caller of the graph. */
export const unshared = <C>(p: Pattern<C>): Pattern<C> => ({
  match: (v, into) => v !== null && v.uses.size === 1 && !isOutput(v) && p.match(v, into),
});

/** Whether the graph that makes `value` gives it out. */
export const isOutput = (value: Value): boolean => value.producer?.graph?.outputs.includes(value) ?? false;

/** Whether anything reads `value`, a result that may be left out: a node, or the caller of the graph. */
export const isRead = (value: Value | null): boolean => value !== null && (value.uses.size > 0 || isOutput(value));

/** Why a rule that matched in shape does not apply. */
export interface Refusal {
  readonly refused: string;
  readonly value?: Value;
}
export const refuse = (refused: string, value?: Value): Refusal => (value ? { refused, value } : { refused });
