import { int } from '../../../ir/attributes.ts';
import type { Builder } from '../../../ir/builder.ts';
import { isMatrix } from '../../../ir/constants.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { Concat, Reshape, Transpose } from '../../../ir/ops/generated.ts';
import { traitsOf } from '../../../ir/ops/traits.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { plus, sameShape } from '../../../ir/shapes/dims.ts';
import { tensorType, type TensorType } from '../../../ir/types.ts';
import { choice } from './choice.ts';
import type { Extents } from './extents.ts';
import { Once } from './once.ts';
import type { Branches, OwnValue, OwnValues } from './own-values.ts';

/** What is wanted in front of the If: a value of one branch, or If(condition){a}{b} for values of both. */
interface Wanted {
  readonly a: Value | null;
  readonly b: Value | null;
}

/** How a value comes from others. */
interface Plan {
  readonly needs: readonly Wanted[];
  readonly make: (values: readonly Value[]) => Value;
}

/** If(c){f(a)}{f(b)} = f(If(c){a}{b}): puts what both branches compute in front of the If, once, from the results up. */
export class Merge {
  readonly #build: Builder;
  readonly #branches: Branches;
  readonly #extents: Extents;
  readonly #once: Once;
  readonly #made = new Map<Value | null, Map<Value | null, Value>>();
  constructor(build: Builder, branches: Branches, extents: Extents) {
    this.#build = build;
    this.#branches = branches;
    this.#extents = extents;
    this.#once = new Once(build);
  }

  /** A value in front of the If that is `a` where the condition holds, and `b` where it does not. */
  merged(a: Value, b: Value): Value {
    const plans: { readonly wanted: Wanted; readonly plan: Plan }[] = [];
    const open = (wanted: Wanted): void => void plans.push({ wanted, plan: this.#plan(wanted) });
    open({ a, b });
    for (let top = plans.at(-1); top; top = plans.at(-1)) {
      const missing = top.plan.needs.find((w) => !this.#found(w));
      if (missing) open(missing);
      else {
        this.#keep(top.wanted, top.plan.make(top.plan.needs.map((w) => this.#found(w)!)));
        plans.pop();
      }
    }
    return this.#found({ a, b })!;
  }

  #found({ a, b }: Wanted): Value | undefined {
    return this.#made.get(a)?.get(b);
  }
  #keep({ a, b }: Wanted, made: Value): void {
    if (!this.#made.has(a)) this.#made.set(a, new Map());
    this.#made.get(a)!.set(b, made);
  }

  #plan({ a, b }: Wanted): Plan {
    const { own } = this.#branches;
    if (a && b)
      return (
        this.#equal(a, b) ??
        this.#cache(a, b) ??
        this.#given(a, b) ??
        this.#turned(a, b) ??
        this.#same(a, b) ??
        this.#first(a, b) ??
        this.#chosen(a, b)
      );
    if (a) return this.#alone(a, own.then, (v) => ({ a: v, b: null }));
    const first = this.#extents.firstLike(b!);
    return first ? as(first) : (this.#reshaped(b!) ?? this.#alone(b!, own.otherwise, (v) => ({ a: null, b: v })));
  }

  /** A value of one branch. It is what it was where that branch runs. */
  #alone(v: Value, own: OwnValues, of: (v: Value) => Wanted): Plan {
    const { then, otherwise } = this.#branches;
    if (then.constants.has(v) || otherwise.constants.has(v)) return given(this.#once.constant(v));
    const node = nodeIn(v, then) ?? nodeIn(v, otherwise);
    return node
      ? this.#copied(
          v,
          node,
          node.operands.map(({ value }) => value && of(value)),
        )
      : given(own.get(v)?.cut ?? v);
  }

  /** A Reshape of what may have no tokens: a target that copies them stands for none, too, and -1 beside them does not. */
  #reshaped(b: Value): Plan | null {
    const node = nodeIn(b, this.#branches.otherwise);
    const target = node && targetOf(node);
    if (!target) return null;
    const make = ([data]: readonly Value[]): Value =>
      this.#build.make(Reshape, { data: data!, shape: this.#build.ints('shape', target) }, { like: b, type: null }).reshaped;
    return { needs: [{ a: null, b: node.input(0)! }], make };
  }

  #copied(v: Value, node: Node, operands: readonly (Wanted | null)[]): Plan {
    const make = (values: readonly Value[]): Value => {
      const left = [...values];
      const inputs = operands.map((w) => w && left.shift()!);
      return this.#once.node(node, inputs).outputs[node.outputs.indexOf(v)]!;
    };
    return { needs: operands.filter((w) => w !== null), make };
  }

  #equal(a: Value, b: Value): Plan | null {
    return a === b ? given(a) : this.#sameConstant(a, b) ? as(a) : null;
  }
  #sameConstant(a: Value, b: Value): boolean {
    return a.constant !== null && b.constant !== null && this.#once.constantKey(a) === this.#once.constantKey(b);
  }

  /** If(c){Concat(past, x)}{y} = Concat(past, If(c){x}{y}), where there is no past unless c holds. */
  #cache(a: Value, b: Value): Plan | null {
    const concat = viewAs(Concat, a.producer);
    const [past, fresh, ...more] = concat?.inputs ?? [];
    const own = past && this.#branches.own.then.get(past);
    if (!concat || !own || !fresh || more.length > 0) return null;
    const [x, y] = [past.type?.shape, b.type?.shape];
    const axis = concat.axis < 0 ? concat.axis + (x?.length ?? 0) : concat.axis;
    const fits = axis === own.axis && x?.length === y?.length && x?.every((d, i) => i === axis || d === y?.[i]);
    return fits ? this.#joined(own, { a: fresh, b }, null) : null;
  }

  /** If(c){given}{f(source)} = Concat(given, f(source)), where the one is empty unless c holds, and the other one if it does. */
  #given(a: Value, b: Value): Plan | null {
    const own = this.#branches.own.then.get(a);
    if (!own || !sameShape(a.type?.shape, b.type?.shape) || a.type!.dtype !== b.type!.dtype) return null;
    const follows = this.#sourcesOf(b, own.tokens)?.every((v) => this.#branches.own.otherwise.get(v)?.tokens === own.tokens);
    return follows ? this.#joined(own, { a: null, b }, a.type) : null;
  }

  /**
   * What a value of the other branch is computed from, of which `tokens` is an extent; null where a Reshape on the way needs tokens. Extents
   * that do not depend on them are followed no further.
   */
  #sourcesOf(b: Value, tokens: string): readonly Value[] | null {
    const [seen, sources] = [new Set<Value>([b]), new Set<Value>()];
    for (const v of seen) {
      if (this.#extents.without(v, tokens)) continue;
      const node = nodeIn(v, this.#branches.otherwise);
      const target = node && targetOf(node);
      if (node?.op === Reshape.schema.op && !target) return null;
      const operands = node?.operands.slice(0, target ? 1 : undefined) ?? [];
      for (const { value } of operands) if (value) seen.add(value);
      if (!node && !v.constant && (v.type?.shape?.includes(tokens) ?? true)) sources.add(v);
    }
    return sources.size > 0 ? [...sources] : null;
  }

  #joined({ cut, axis, left }: OwnValue, fresh: Wanted, type: TensorType | null): Plan {
    const make = ([v]: readonly Value[]): Value => {
      const { dtype, shape } = cut.type!;
      const length = plus(left, (fresh.a ?? fresh.b)!.type?.shape?.[axis] ?? null);
      const joined = tensorType(
        dtype,
        shape!.map((d, i) => (i === axis ? length : d)),
      );
      const details = { attributes: { axis: int(axis) }, like: cut, type: type ?? joined };
      return this.#build.make(Concat, { inputs: [cut, v!] }, details).concat_result;
    };
    return { needs: [fresh], make };
  }

  /** If(c){Transpose(x)}{Transpose(y)} where axes go to other places: the other branch has y turned as x is. */
  #turned(a: Value, b: Value): Plan | null {
    const [x, y] = [viewAs(Transpose, a.producer), viewAs(Transpose, b.producer)];
    const [p, q] = [x?.perm, y?.perm];
    if (!x || !y || !p || !q || p.length !== q.length || p.join() === q.join()) return null;
    const wanted = p.map((_, i) => q[p.indexOf(i)]!).join();
    const turned = [...y.data.uses].flatMap((u) => viewAs(Transpose, u.node) ?? []).find((t) => t.perm?.join() === wanted);
    return turned ? this.#copied(a, x.node, [{ a: x.data, b: turned.transposed }]) : null;
  }

  /** If(c){f(a)}{f(b)} = f(If(c){a}{b}). A weight stays a constant. */
  #same(a: Value, b: Value): Plan | null {
    const [x, y] = [nodeIn(a, this.#branches.then), nodeIn(b, this.#branches.otherwise)];
    if (!x || !y || x.outputs.indexOf(a) !== y.outputs.indexOf(b) || traitsOf(x.op).random) return null;
    if (x.operands.length !== y.operands.length || this.#once.kindOf(x) !== this.#once.kindOf(y)) return null;
    const pairs = x.operands.map((u, i) => ({ a: u.value, b: y.operands[i]!.value }));
    if (!pairs.every((pair) => this.#mayJoin(pair))) return null;
    return this.#copied(
      a,
      x,
      pairs.map((pair) => (pair.a ? pair : null)),
    );
  }
  #mayJoin({ a, b }: Wanted): boolean {
    if (!a || !b || a === b) return a === b;
    return this.#sameConstant(a, b) || !(isMatrix(a) || isMatrix(b));
  }

  /** Extents of the first branch, which are those of the other one where caches are empty. */
  #first(a: Value, b: Value): Plan | null {
    const first = this.#extents.same(a, b) ? a : this.#extents.firstLike(b);
    return first && as(first);
  }

  #chosen(a: Value, b: Value): Plan {
    const make = ([x, y]: readonly Value[]): Value => choice(this.#build, this.#branches.condition, x!, y!, this.#extents.either(a, b));
    const needs = [
      { a, b: null },
      { a: null, b },
    ];
    return { needs, make };
  }
}

const given = (v: Value): Plan => ({ needs: [], make: () => v });
const as = (a: Value): Plan => ({ needs: [{ a, b: null }], make: ([v]) => v! });
const nodeIn = (v: Value, body: Graph): Node | null => (v.producer?.graph === body ? v.producer : null);

/** What a Reshape makes, as extents that are numbers or those of the same axis of its operand; null where there are others. */
function targetOf(node: Node): readonly number[] | null {
  const reshape = viewAs(Reshape, node);
  const [from, to] = [reshape?.data.type?.shape, reshape?.reshaped.type?.shape];
  const target = to?.map((d, i) => (typeof d === 'number' && d > 0 ? d : d !== null && d === from?.[i] ? 0 : null)) ?? [null];
  return target.every((d) => d !== null) ? target : null;
}
