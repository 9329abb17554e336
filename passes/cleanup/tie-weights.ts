import { ints } from '../../ir/attributes.ts';
import { Builder } from '../../ir/builder.ts';
import { isMatrix } from '../../ir/constants.ts';
import type { Graph, Value } from '../../ir/graph.ts';
import { Transpose } from '../../ir/ops/generated.ts';
import { bytesFor, sizeOf, tensorType } from '../../ir/types.ts';
import { definePass } from '../infra/pass.ts';
import { printsOf } from './prints.ts';

/** Constants smaller than this are not worth sharing. */
const smallest = 4096;

/** Stores equal matrices once: exporters write a tied embedding twice, the second time transposed. */
export const tieWeights = definePass({
  name: 'tie-weights',
  summary: 'store equal or transposed copies of a matrix once',
  contract: 'exact',
  run(graph, ctx) {
    const matrices = [...graph.constants].filter(isWorthTying);
    const prints = printsOf(matrices.map((v) => v.constant!));
    const kept = new Map<string, Value>();
    const transposes = new Map<string, Value>();
    matrices.forEach((value, i) => {
      const { own, turned } = prints[i]!;
      const [same, other] = [kept.get(own), transposes.get(own)];
      if (!same && !other) {
        kept.set(own, value);
        if (turned !== null && !transposes.has(turned)) transposes.set(turned, value);
        return;
      }
      graph.replaceUses(value, same ?? transpose(graph, other!, value));
      graph.eraseConstant(value);
      ctx.count('tied');
    });
  },
});

const isWorthTying = (v: Value): boolean => isMatrix(v) && bytesFor(v.constant!.dtype, sizeOf(v.constant!.shape)) >= smallest;

function transpose(graph: Graph, source: Value, like: Value): Value {
  const type = tensorType(like.type!.dtype, like.type!.shape);
  return Builder.behind(graph, source).value(Transpose.schema.op, [source], { perm: ints([1, 0]) }, type, `${like.name}.tied`);
}
