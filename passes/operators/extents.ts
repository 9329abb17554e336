import { free } from '../../ir/freedom.ts';
import { Shape } from '../../ir/ops/generated.ts';
import type { Down, OperatorRecord } from './record.ts';

/** Shape(D(x)) = Shape(x). */
const down: Down = {
  freedom: (_node, _operand, size) => free(size),
  absorb(graph, use, decode) {
    graph.setInput(use.node, use.index, decode.x);
    return true;
  },
};

export const shape: OperatorRecord = { op: Shape.schema.op, down };
