import type { Value } from '../../../ir/graph.ts';
import { nodesInBodies } from '../../../ir/walk.ts';
import type { Halving } from './halving.ts';

/** Graphs inside the graph read f32 from around them, as they were written for. */
export function giveBack(halving: Halving): void {
  const wide = (v: Value): Value => (isHalved(halving, v) ? halving.twins.as(v, 'f32') : v);
  for (const node of [...halving.graph.nodes].flatMap((n) => [...nodesInBodies(n)]))
    node.operands.forEach(({ value }, i) => {
      if (value && wide(value) !== value) halving.graph.setInput(node, i, wide(value));
    });
}

/** Whether a value became f16. Only those of the outer graph did. */
const isHalved = (halving: Halving, v: Value): boolean =>
  v.type?.dtype === 'f16' && v.producer?.graph === halving.graph && !halving.isOwn(v);
