import type { Graph, Node, Value } from '../graph.ts';
import { integers, type Tensor } from '../tensor.ts';
import { sizeOf, type Dim, type TensorType } from '../types.ts';
import type { Inferred, Known } from './rule.ts';
import { rules } from './rules.ts';

/** A small integer tensor whose elements are known as extents: what shape arithmetic computes with. */
const smallTensor = 64;

/**
 * Fills in the types of a graph's values as far as they follow from its inputs and constants: element types, ranks, and
 * extents as numbers or sums of products of symbols. What is known already is kept; nothing is ever guessed. Gives what it found of the
 * elements of small integer tensors, as extents.
 */
export function inferTypes(graph: Graph): Known['contents'] {
  const contents = new Map<Value, readonly Dim[]>();
  const symbols = new Symbols(graph);
  for (const input of graph.inputs) graph.setType(input, named(input));
  const known: Known = {
    type: (v) => v?.type ?? null,
    contents: (v) => (v === null ? null : (contents.get(v) ?? constantContents(v))),
  };
  for (const node of graph.nodes) {
    for (const body of node.bodies) inferTypes(body);
    const results = inferNode(node, known);
    node.outputs.forEach((out, i) => {
      const found = results[i];
      if (!found) return;
      graph.setType(out, symbols.complete(better(out.type, found.type)));
      if (found.contents) contents.set(out, found.contents);
    });
  }
  return known.contents;
}

function inferNode(node: Node, known: Known): readonly Inferred[] {
  const rule = rules[node.op];
  return rule ? rule(node, known) : [];
}

/** Extents of which nothing is known are named `?1`, `?2`, ..., so that the same one is recognised further down. */
class Symbols {
  #last: number;
  constructor(graph: Graph) {
    const numbers = [...graph.nodes].flatMap((n) =>
      n.outputs.flatMap((o) => (o.type?.shape ?? []).flatMap((d) => (typeof d === 'string' ? [...d.matchAll(/\?(\d+)/g)] : []))),
    );
    this.#last = numbers.reduce((most, m) => Math.max(most, Number(m[1])), 0);
  }
  complete(type: TensorType | null): TensorType | null {
    if (!type?.shape?.includes(null)) return type;
    return { dtype: type.dtype, shape: type.shape.map((d) => d ?? `?${++this.#last}`) };
  }
}

/** An input's unnamed extents get names of their own, so that they can be compared further down. */
function named(input: Value): TensorType | null {
  if (!input.type?.shape) return input.type;
  const stem = input.name.replace(/\W/g, '_');
  return { dtype: input.type.dtype, shape: input.type.shape.map((d, i) => d ?? `${stem}_${i}`) };
}

function better(old: TensorType | null, found: TensorType | null): TensorType | null {
  if (!old || !found) return found ?? old;
  if (!old.shape || !found.shape) return found.shape ? found : old;
  if (old.shape.length !== found.shape.length) return found;
  return {
    dtype: found.dtype,
    shape: found.shape.map((d, i) => (typeof old.shape![i] === 'number' ? old.shape![i]! : (d ?? old.shape![i]!))),
  };
}

function constantContents(v: Value): readonly Dim[] | null {
  const t: Tensor | null = v.constant;
  if (!t || t.shape.length > 1 || sizeOf(t.shape) > smallTensor || (t.dtype !== 'i64' && t.dtype !== 'i32')) return null;
  return integers(t);
}
