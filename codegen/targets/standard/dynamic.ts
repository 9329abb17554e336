import { int } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import { fail } from '../../../ir/diagnostics.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { DynamicQuantize } from '../../../ir/ops/qc.ts';
import { int64s, scalar } from '../../../ir/tensor.ts';

/** Per-token quantization in standard operators; see the body of qc.DynamicQuantize for the equations. */
export function lowerDynamic(graph: Graph, node: Node): void {
  const view = new DynamicQuantize(node);
  const build = Builder.before(node, node.output.name);
  const channels = view.x.type?.shape?.at(-1);
  const blocked = view.block > 0 && view.block !== channels;
  if (blocked && (typeof channels !== 'number' || channels % view.block !== 0))
    fail(
      'QC4001',
      `%${view.x.name} has ${channels ?? 'an unknown number of'} channels, so it cannot be cut into blocks of ${view.block}`,
      node.loc,
    );
  const rows = blocked
    ? build.value('Reshape', [view.x, build.constant('blocks', int64s([3], [-1, Number(channels) / view.block, view.block]))])
    : view.x;
  const quantized = perRow(build, rows, view);
  const result = blocked ? build.value('Reshape', [quantized, build.value('Shape', [view.x])], {}, view.x.type) : quantized;
  graph.replace(node.output, result);
  graph.erase(node);
}

function perRow(build: Builder, x: Value, { qmin, qmax, symmetric }: DynamicQuantize): Value {
  const number = (k: number) => build.constant('number', scalar(k));
  const reduce = (op: string, v: Value) => build.value(op, [v, build.constant('axis', int64s([1], [-1]))], { keepdims: int(1) });
  const tiny = number(1.1754943508222875e-38);
  const [least, most] = [number(qmin), number(qmax)];
  if (symmetric) {
    const scale = build.value('Max', [build.value('Div', [reduce('ReduceMax', build.value('Abs', [x])), most]), tiny]);
    const codes = build.value('Clip', [build.value('Round', [build.value('Div', [x, scale])]), least, most]);
    return build.value('Mul', [codes, scale], {}, x.type);
  }
  const low = build.value('Min', [reduce('ReduceMin', x), number(0)]);
  const high = build.value('Max', [reduce('ReduceMax', x), number(0)]);
  const scale = build.value('Max', [build.value('Div', [build.value('Sub', [high, low]), number(qmax - qmin)]), tiny]);
  const zero = build.value('Clip', [build.value('Sub', [least, build.value('Round', [build.value('Div', [low, scale])])]), least, most]);
  const codes = build.value('Clip', [build.value('Add', [build.value('Round', [build.value('Div', [x, scale])]), zero]), least, most]);
  return build.value('Mul', [build.value('Sub', [codes, zero]), scale], {}, x.type);
}
