import { isMatrix } from '../../ir/constants.ts';
import { free, only } from '../../ir/freedom.ts';
import type { Node, Value } from '../../ir/graph.ts';
import { MatMul } from '../../ir/ops/generated.ts';
import { FakeQuantize } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { addBias, constantLike, movedColumns, movedRows, shiftProduct } from '../../ir/weights.ts';
import type { Down, OperatorRecord, Up } from './record.ts';

/** T(x W): the columns of W move and scale; a shift has no place here, it ends in the bias below. */
const up: Up = {
  freedom: (node, size) => (isMatrix(node.input(1)) ? only(size, { perm: true, scale: true, shift: false }) : null),
  onward: () => [],
  absorb(graph, node, t) {
    graph.setInput(node, 1, constantLike(graph, node.input(1)!, movedColumns(t, node.input(1)!.constant!)));
  },
};

/** The constant that a product's weight quantizes; null where it has no quantizer. */
const quantized = (node: Node): Value | null => viewAs(FakeQuantize, node.input(1)?.producer ?? null)?.x ?? null;

/**
 * D(x) W = x W' + shift W, where row perm[i] of W' is scale[i] times row i of W. A weight with a quantizer stays as it is, because its scales
 * were chosen for its rows, so it lets a shift through and nothing else.
 */
const down: Down = {
  freedom(node, operand, size) {
    if (operand !== 0) return null;
    if (isMatrix(node.input(1))) return free(size);
    return isMatrix(quantized(node)) ? only(size, { perm: false, scale: false, shift: true }) : null;
  },
  absorb(graph, use, decode) {
    const { node, index } = use;
    const [weight, t] = [quantized(node) ?? node.input(1), decode.transform];
    if (index !== 0 || !weight?.constant || !isMatrix(weight)) return false;
    if ((t.perm || t.scale) && weight !== node.input(1)) return false;
    graph.setInput(node, 0, decode.x);
    if (t.perm || t.scale) graph.setInput(node, 1, constantLike(graph, weight, movedRows(t, weight.constant)));
    if (t.shift) addBias(node.output, shiftProduct(t, weight.constant), `${weight.name}.bias`);
    return true;
  },
};

export const matMul: OperatorRecord = {
  op: MatMul.schema.op,
  roles: ['linear'],
  tokenwise: true,
  up,
  down,
  productLeft(node) {
    // A matrix that is no weight has one row, and nobody would ask.
    if (isMatrix(node.input(1))) return null;
    return node.input(0)?.constant ? 'its weight stands first, and the axes of its input are unknown' : 'its weight is not one matrix';
  },
};
