import { Builder } from '../../../ir/builder.ts';
import { Graph, type Value } from '../../../ir/graph.ts';
import { Identity, If } from '../../../ir/ops/generated.ts';
import type { TensorType } from '../../../ir/types.ts';

/** If(condition){a}{b}, for values that are both there. */
export function choice(build: Builder, condition: Value, a: Value, b: Value, type: TensorType | null): Value {
  const { graph } = build;
  const body = (name: string, v: Value): Graph => {
    const made = new Graph(graph.freshName(name), graph);
    const results = [{ name: graph.freshName(v.name), type: v.type }];
    made.addOutput(Builder.atEnd(made).insert({ op: Identity.schema.op, inputs: [v], results }).output);
    return made;
  };
  const attributes = {
    then_branch: { kind: 'graph', value: body('then', a) },
    else_branch: { kind: 'graph', value: body('else', b) },
  } as const;
  return build.insert({ op: If.schema.op, inputs: [condition], attributes, results: [{ name: graph.freshName(a.name), type }] }).output;
}
