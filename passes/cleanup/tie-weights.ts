import { ints } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { isMatrix } from '../../ir/constants.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import { Transpose } from '../../ir/ops/generated.ts';
import type { Tensor } from '../../ir/tensor.ts';
import { transposed } from '../../ir/tensor.ts';
import { bytesFor, sizeOf, tensorType } from '../../ir/types.ts';
import { definePass } from '../infra/pass.ts';

/** Constants smaller than this are not worth sharing. */
const smallest = 4096;

/** Stores equal matrices once: exporters write a tied embedding twice, the second time transposed. */
export const tieWeights = definePass({
  name: 'tie-weights',
  summary: 'store equal or transposed copies of a matrix once',
  contract: 'exact',
  run(graph, ctx) {
    const kept: Value[] = [];
    for (const value of [...graph.constants].filter(isWorthTying)) {
      const same = kept.find((k) => equalShape(k, value.constant!.shape) && equal(k.constant!, value.constant!));
      const turned = kept.find((k) => equalShape(k, value.constant!.shape.toReversed()) && equal(transposed(k.constant!), value.constant!));
      if (same) graph.replaceUses(value, same);
      else if (turned) graph.replaceUses(value, transpose(graph, turned, value));
      else kept.push(value);
      if (!same && !turned) continue;
      graph.eraseConstant(value);
      ctx.count('tied');
    }
  },
});

const isWorthTying = (v: Value): boolean => isMatrix(v) && bytesFor(v.constant!.dtype, sizeOf(v.constant!.shape)) >= smallest;
const equalShape = (v: Value, shape: readonly number[]): boolean => v.constant!.shape.every((d, i) => d === shape[i]);

function equal(a: Tensor, b: Tensor): boolean {
  return a.dtype === b.dtype && Buffer.compare(a.bytes(), b.bytes()) === 0;
}

function transpose(graph: Graph, source: Value, like: Value): Value {
  const type = tensorType(like.type!.dtype, like.type!.shape);
  return Builder.behind(graph, source).value(Transpose.schema.op, [source], { perm: ints([1, 0]) }, type, `${like.name}.tied`);
}
