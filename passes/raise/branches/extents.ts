import type { Graph, Value } from '../../../ir/graph.ts';
import { sameShape, withExtent } from '../../../ir/shapes/dims.ts';
import { inferTypes } from '../../../ir/shapes/infer.ts';
import { tensorType, type Dim, type TensorType } from '../../../ir/types.ts';
import type { Branches, OwnValue } from './own-values.ts';

/** What is known of extents in the two branches. Those of the first one on empty caches may be those of the other one. */
export class Extents {
  readonly #contents: { readonly then: (v: Value) => Dims; readonly otherwise: (v: Value) => Dims };
  /** What the first branch alone has tokens of, one for each extent. */
  readonly #caches: readonly OwnValue[];
  /** Extents of which the other branch has none where the first one runs. */
  readonly #others: readonly string[];
  readonly #firsts: ReadonlyMap<string, Value>;
  constructor({ then, otherwise, own }: Branches) {
    this.#contents = { then: inferTypes(then), otherwise: inferTypes(otherwise) };
    this.#others = [...own.otherwise.values()].map((o) => o.tokens);
    const byTokens = new Map([...own.then.values()].map((o) => [o.tokens, o] as const));
    this.#caches = [...byTokens.values()].filter((o) => !this.#others.includes(o.tokens));
    this.#firsts = this.#valuesOf(then);
  }

  /** Whether `a` of the first branch holds on empty caches the extents that `b` of the other one holds. */
  same(a: Value, b: Value): boolean {
    const key = this.#keyOnEmpty(a);
    return key !== null && key === this.#key(b.type, this.#contents.otherwise(b));
  }
  /** A value of the first branch that holds on empty caches the extents that `b` of the other one holds; null if there is none. */
  firstLike(b: Value): Value | null {
    const key = this.#key(b.type, this.#contents.otherwise(b));
    return key === null ? null : (this.#firsts.get(key) ?? null);
  }
  /** Whether a value of the other branch is known to hold extents, none of which depends on `tokens`. */
  without(b: Value, tokens: string): boolean {
    const contents = this.#contents.otherwise(b);
    return contents !== null && contents.every((d) => d !== null && withExtent(d, tokens, 0) === d);
  }
  /** Extents where only what the caches keep is left of them. */
  left(shape: readonly Dim[]): readonly Dim[] {
    return this.#caches.reduce((dims, { tokens, left }) => dims.map((d) => withExtent(d, tokens, left)), shape);
  }
  /** The type of a value that is `a` in the first branch, and `b` in the other one. */
  either(a: Value, b: Value): TensorType | null {
    const [x, y] = [a.type?.shape, b.type?.shape];
    if (!a.type || a.type.dtype !== b.type?.dtype) return null;
    if (!x || x.length !== y?.length) return tensorType(a.type.dtype, null);
    const [empty, left] = [this.#empty(x), this.left(x)];
    const shape = left.map((d, i) => (y[i] !== null && empty[i] === y[i] ? d : null));
    return tensorType(a.type.dtype, shape);
  }

  #empty(shape: readonly Dim[]): readonly Dim[] {
    return this.#caches.reduce((dims, { tokens }) => dims.map((d) => withExtent(d, tokens, 0)), shape);
  }
  #valuesOf(then: Graph): ReadonlyMap<string, Value> {
    const found = new Map<string, Value>();
    for (const v of [...then.nodes].flatMap((n) => n.outputs)) {
      const key = this.#contents.then(v)?.some((d) => typeof d === 'string') ? this.#keyOnEmpty(v) : null;
      if (key !== null && !found.has(key)) found.set(key, v);
    }
    return found;
  }
  #keyOnEmpty(a: Value): string | null {
    const contents = this.#contents.then(a);
    return this.#key(a.type, contents && this.#empty(contents));
  }
  /** Equal for values of the same type and extents; null where these are not known, or mean something else in each branch. */
  #key(type: TensorType | null, contents: Dims): string | null {
    const isKnown = (d: Dim): boolean => d !== null && !String(d).includes('?');
    const known =
      contents?.every(isKnown) &&
      this.#others.every((tokens) =>
        sameShape(
          contents,
          contents.map((d) => withExtent(d, tokens, 0)),
        ),
      );
    return type?.shape && known ? `${type.dtype} ${type.shape.length}: ${contents!.join()}` : null;
  }
}

type Dims = readonly Dim[] | null;
