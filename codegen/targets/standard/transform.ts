import { int } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import { permAt } from '../../../ir/channel.ts';
import type { Graph, Node } from '../../../ir/graph.ts';
import { Decode, Encode } from '../../../ir/ops/qc.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { dense, int64s } from '../../../ir/tensor.ts';

/** y = x[perm] * scale + shift in Gather, Mul and Add, as far as there is something to do. */
export function lowerTransform(graph: Graph, node: Node): void {
  const view = viewAs(Encode, node) ?? new Decode(node);
  const t = view.transform;
  const build = Builder.before(node, node.output.name);
  const type = view.x.type;
  let value = view.x;
  if (t.perm)
    value = build.value(
      'Gather',
      [
        value,
        build.constant(
          'order',
          int64s(
            [t.size],
            Array.from({ length: t.size }, (_, i) => permAt(t, i)),
          ),
        ),
      ],
      { axis: int(-1) },
      type,
    );
  if (t.scale) value = build.value('Mul', [value, build.constant('scale', dense([t.size], t.scale))], {}, type);
  if (t.shift) value = build.value('Add', [value, build.constant('shift', dense([t.size], t.shift))], {}, type);
  graph.replace(node.output, value);
  graph.erase(node);
}
