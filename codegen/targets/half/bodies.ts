import type { Value } from '../../../ir/graph.ts';
import { nodesInBodies } from '../../../ir/walk.ts';
import type { Conversion } from './conversion.ts';

/** Graphs inside the graph read f32 from around them, as they were written for. */
export function giveBack(conversion: Conversion): void {
  const wide = (v: Value): Value => (isHalved(conversion, v) ? conversion.counterparts.as(v, 'f32') : v);
  for (const node of [...conversion.graph.nodes].flatMap((n) => [...nodesInBodies(n)]))
    node.operands.forEach(({ value }, i) => {
      if (value && wide(value) !== value) conversion.graph.setInput(node, i, wide(value));
    });
}

/** Whether a value became f16. Only those of the outer graph did. */
const isHalved = (conversion: Conversion, v: Value): boolean =>
  v.type?.dtype === 'f16' && v.producer?.graph === conversion.graph && !conversion.isOwn(v);
