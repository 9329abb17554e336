import { free, meet, pinned, type Freedom } from '../../ir/freedom.ts';
import type { ChannelPart } from '../../ir/channel.ts';
import type { Node, Value } from '../../ir/graph.ts';
import { Decode, type Site } from '../../ir/ops/qc.ts';
import { isOutput } from '../../ir/pattern.ts';
import { describe } from '../infra/ledger.ts';
import { hasRole, recordOf } from '../operators/index.ts';

/** Which changes of basis at a site would fold away completely. */
export function freedomAt(site: Site, size: number): Freedom {
  return meet(freedomAbove(site.x, size), freedomBelow(site.y, size));
}

/** What the value's makers take. */
export function freedomAbove(value: Value, size: number): Freedom {
  const walked: Walked = { nodes: new Set(), values: new Set() };
  const found = walkAbove(value, size, walked);
  const elsewhere = [...walked.values].filter((v) => v !== value && isReadElsewhere(v, walked.nodes));
  if (elsewhere.some((v) => !recordOf(v.producer!).up?.givesBack)) return pinned(size);
  return elsewhere.length > 0 ? { ...found, can: { ...found.can, perm: false } } : found;
}

/** Where a walk up went. */
interface Walked {
  readonly nodes: Set<Node>;
  readonly values: Set<Value>;
}

function walkAbove(value: Value, size: number, walked: Walked): Freedom {
  const node = value.producer;
  if (!node) return pinned(size);
  walked.values.add(value);
  walked.nodes.add(node);
  // A change of basis passes markers by merging, or because the method changes the site on the way alike.
  if (hasRole(node, 'marker')) return walkAbove(node.input(0)!, size, walked);
  const behaviour = recordOf(node).up;
  const output = node.outputs.indexOf(value);
  const own = behaviour?.freedom(node, size, output) ?? null;
  if (!behaviour || !own) return pinned(size);
  return behaviour.onward(node, size, output).reduce<Freedom>((f, { operand, channels, without }) => {
    const above = walkAbove(node.input(operand)!, channels ?? size, walked);
    const can = (without ?? []).reduce((c, part) => ({ ...c, [part]: true }), above.can);
    // Cells and leaders of other channels are not those of the result.
    return channels === undefined ? meet(f, { ...above, can }) : { ...f, can: meet(f, { ...above, can, size }).can };
  }, own);
}

/** Whether a value has a reader off the way, which would need it as it was. */
const isReadElsewhere = (v: Value, nodes: ReadonlySet<Node>): boolean =>
  isOutput(v) || [...v.uses].some(({ node }) => !nodes.has(node) && !recordOf(node).readsExtents);

/** Who above a value does not take a part of a change of basis, for a message; null if nobody refuses. */
export function refuserAbove(value: Value, size: number, part: ChannelPart): string | null {
  const node = value.producer;
  if (!node) return value.constant ? `constant %${value.name}` : `input %${value.name}`;
  if (hasRole(node, 'marker')) return refuserAbove(node.input(0)!, size, part);
  const behaviour = recordOf(node).up;
  const output = node.outputs.indexOf(value);
  if (!behaviour?.freedom(node, size, output)?.can[part]) return describe(node);
  for (const { operand, channels, without } of behaviour.onward(node, size, output)) {
    const refused = without?.includes(part) ? null : refuserAbove(node.input(operand)!, channels ?? size, part);
    if (refused !== null) return refused;
  }
  return null;
}

/** As `refuserAbove`, of the readers of a value. */
export function refuserBelow(value: Value, size: number, part: ChannelPart): string | null {
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
