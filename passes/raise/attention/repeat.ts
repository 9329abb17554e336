import type { Value } from '../../../ir/graph.ts';
import { Expand, Reshape } from '../../../ir/ops/generated.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { sameShape } from '../../../ir/shapes/dims.ts';
import { headsOf } from './heads.ts';

/**
 * The heads that a value [batch, heads * times, seq, width] repeats, each `times` times in a row; the value itself where it repeats none:
 * Reshape(Expand([batch, heads, 1, seq, width])).
 */
export function unrepeated(v: Value): Value {
  const reshape = viewAs(Reshape, v.producer);
  const expand = viewAs(Expand, reshape?.data.producer ?? null);
  const once = expand && withoutAxis(expand.input);
  const [heads, all] = [headsOf(once), headsOf(v)];
  const times = expand?.output.type?.shape?.[2];
  if (!expand || !once || !heads || !all || typeof times !== 'number' || heads.heads * times !== all.heads) return v;
  const { batch, seq, width } = heads;
  const spread = sameShape(expand.output.type?.shape, [batch, heads.heads, times, seq, width]);
  return spread && sameShape(v.type?.shape, [batch, all.heads, seq, width]) ? once : v;
}

/** [batch, heads, seq, width] of which `v` is [batch, heads, 1, seq, width]. */
function withoutAxis(v: Value): Value | null {
  const source = v.producer?.op === 'Unsqueeze' || v.producer?.op === 'Reshape' ? v.producer.input(0)! : null;
  const shape = source?.type?.shape;
  return shape?.length === 4 && sameShape(v.type?.shape, [...shape.slice(0, 2), 1, ...shape.slice(2)]) ? source : null;
}
