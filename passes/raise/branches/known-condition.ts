import { Builder } from '../../../ir/builder.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { Equal, If, Not } from '../../../ir/ops/generated.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { sameShape } from '../../../ir/shapes/dims.ts';
import type { Dim } from '../../../ir/types.ts';
import { bodyOf } from './merge-branches.ts';

/** An If whose condition is known is one of its branches: TorchScript asks at run time whether extents agree that always do. */
export function foldBranches(graph: Graph, contents: (v: Value) => readonly Dim[] | null): void {
  for (const node of [...graph.nodes]) {
    const holds = node.op === If.schema.op ? known(node.input(0)!, contents) : null;
    const body = holds === null ? null : bodyOf(node, holds ? 'then_branch' : 'else_branch');
    if (body && [...body.nodes].every((n) => n.bodies.length === 0)) inline(graph, node, body);
  }
}

/** Whether a condition holds for all inputs, or for none; null where neither is known. */
function known(condition: Value, contents: (v: Value) => readonly Dim[] | null): boolean | null {
  const not = viewAs(Not, condition.producer);
  if (not) {
    const holds = known(not.x, contents);
    return holds === null ? null : !holds;
  }
  const equal = viewAs(Equal, condition.producer);
  return equal && sameShape(contents(equal.a), contents(equal.b)) ? true : null;
}

function inline(graph: Graph, node: Node, body: Graph): void {
  const build = Builder.before(node);
  const copies = new Map<Value, Value>();
  const copyOf = (v: Value): Value => copies.get(v) ?? v;
  for (const v of body.constants) copies.set(v, graph.addConstant(graph.freshName(v.name), v.constant!));
  for (const { op, name, attributes, operands, outputs } of body.nodes) {
    const results = outputs.map((o, i) => ({ name: graph.freshName(i === 0 ? o.name : `${o.name}.${i}`), type: o.type }));
    const inputs = operands.map(({ value }) => value && copyOf(value));
    const made = build.insert({ op, inputs, name, attributes: Object.fromEntries(attributes), results });
    outputs.forEach((o, i) => copies.set(o, made.outputs[i]!));
  }
  node.outputs.forEach((o, i) => graph.replace(o, copyOf(body.outputs[i]!)));
  graph.erase(node);
}
