import { free, meet, pinned, type Freedom } from '../../ir/freedom.ts';
import type { Value } from '../../ir/graph.ts';
import { Decode, type Site } from '../../ir/ops/qc.ts';
import { describe } from '../infra/ledger.ts';
import { hasRole, recordOf } from '../operators/index.ts';

/** Which changes of basis at a site would fold away completely. */
export function freedomAt(site: Site, size: number): Freedom {
  return meet(freedomAbove(site.x, size), freedomBelow(site.y, size));
}

/** What the value's makers take. */
export function freedomAbove(value: Value, size: number): Freedom {
  const node = value.producer;
  if (!node) return pinned(size);
  // A change of basis passes markers by merging, or because the method changes the site on the way alike.
  if (hasRole(node, 'marker')) return freedomAbove(node.input(0)!, size);
  const behaviour = recordOf(node).up;
  const own = behaviour?.freedom(node, size) ?? null;
  if (!behaviour || !own) return pinned(size);
  if (behaviour.onward === null) return own;
  const { operand, channels, keepsShift } = behaviour.onward;
  const above = freedomAbove(node.input(operand)!, channels?.(node, size) ?? size);
  const can = keepsShift ? { ...above.can, shift: true } : above.can;
  // Cells and leaders of other channels are not those of the result.
  return channels ? { ...own, can: meet(own, above).can } : meet(own, { ...above, can });
}

/** A part of a change of basis. */
export type Part = 'perm' | 'scale' | 'shift';

/** Who above a value does not take a part of a change of basis, for a message; null if nobody refuses. */
export function refuserAbove(value: Value, size: number, part: Part): string | null {
  const node = value.producer;
  if (!node) return value.constant ? `constant %${value.name}` : `input %${value.name}`;
  if (hasRole(node, 'marker')) return refuserAbove(node.input(0)!, size, part);
  const behaviour = recordOf(node).up;
  if (!behaviour?.freedom(node, size)?.can[part]) return describe(node);
  const { onward } = behaviour;
  if (onward === null || (part === 'shift' && onward.keepsShift)) return null;
  return refuserAbove(node.input(onward.operand)!, onward.channels?.(node, size) ?? size, part);
}

/** As `refuserAbove`, of the readers of a value. */
export function refuserBelow(value: Value, size: number, part: Part): string | null {
  for (const use of value.uses) {
    const decode = use.node.op === Decode.schema.op;
    const refused = decode
      ? refuserBelow(use.node.output, size, part)
      : recordOf(use.node).down?.freedom(use.node, use.index, size)?.can[part];
    if (decode && refused) return refused as string;
    if (!decode && !refused) return describe(use.node);
  }
  return null;
}

/** What the value's readers take. */
export function freedomBelow(value: Value, size: number): Freedom {
  return [...value.uses].reduce<Freedom>((f, use) => {
    if (use.node.op === Decode.schema.op) return meet(f, freedomBelow(use.node.output, size));
    return meet(f, recordOf(use.node).down?.freedom(use.node, use.index, size) ?? pinned(size));
  }, free(size));
}
