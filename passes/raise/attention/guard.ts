import { scalarOf } from '../../../ir/constants.ts';
import type { Value } from '../../../ir/graph.ts';
import { IsNaN, Where } from '../../../ir/ops/generated.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { isOutput } from '../../../ir/pattern.ts';

/** Where(IsNaN(p), 0, p): the probabilities p of tokens that may see no key at all, for which a softmax of -inf gives NaN. Null if none. */
export function guardOf(probabilities: Value): Value | null {
  const where = [...probabilities.uses].flatMap((u) => viewAs(Where, u.node) ?? []).find((w) => w.y === probabilities);
  const test = viewAs(IsNaN, where?.condition.producer ?? null);
  const alone = [...probabilities.uses].every((u) => u.node === where?.node || u.node === test?.node) && !isOutput(probabilities);
  return where && test?.x === probabilities && alone && scalarOf(where.x) === 0 ? where.output : null;
}
