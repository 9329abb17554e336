import { free, meet, pinned, type Freedom } from '../../ir/freedom.ts';
import type { Node, Value } from '../../ir/graph.ts';
import { Attention } from '../../ir/ops/generated.ts';
import { Decode, Encode, Observer, Site } from '../../ir/ops/qc.ts';
import { down } from '../fold-channels/down.ts';
import { up } from '../fold-channels/up.ts';

/** Which changes of basis at a site would fold away completely. */
export function freedomAt(site: Site, size: number): Freedom {
  return meet(freedomAbove(site.x, size), freedomBelow(site.y, size));
}

/** A change of basis passes these by merging, or because the method changes the site on the way alike. */
const transparent: ReadonlySet<string> = new Set([Observer.schema.op, Site.schema.op, Encode.schema.op, Decode.schema.op]);

/** What the value's makers take. */
export function freedomAbove(value: Value, size: number): Freedom {
  const node = value.producer;
  if (!node) return pinned(size);
  if (transparent.has(node.op)) return freedomAbove(node.input(0)!, size);
  const behaviour = up[node.op];
  const own = behaviour?.freedom(node, size) ?? null;
  if (!behaviour || !own) return pinned(size);
  if (behaviour.onward === null) return own;
  const next = node.input(behaviour.onward)!;
  if (node.op === 'Attention') return { ...own, can: meet(own, freedomAbove(next, valueChannels(node, size))).can };
  const above = freedomAbove(next, size);
  // A bias below takes the shift, so that what stands above it need not.
  return meet(own, node.op === 'Add' ? { ...above, can: { ...above.can, shift: true } } : above);
}

const valueChannels = (node: Node, size: number): number => {
  const view = new Attention(node);
  return (size / view.q_num_heads) * view.kv_num_heads;
};

/** A part of a change of basis. */
export type Part = 'perm' | 'scale' | 'shift';

/** Who above a value does not take a part of a change of basis, for a message; null if nobody refuses. */
export function refuserAbove(value: Value, size: number, part: Part): string | null {
  const node = value.producer;
  if (!node) return value.constant ? `constant %${value.name}` : `input %${value.name}`;
  if (transparent.has(node.op)) return refuserAbove(node.input(0)!, size, part);
  const behaviour = up[node.op];
  if (!behaviour?.freedom(node, size)?.can[part]) return describe(node);
  if (behaviour.onward === null || (part === 'shift' && node.op === 'Add')) return null;
  return refuserAbove(node.input(behaviour.onward)!, node.op === 'Attention' ? valueChannels(node, size) : size, part);
}

/** As `refuserAbove`, of the readers of a value. */
export function refuserBelow(value: Value, size: number, part: Part): string | null {
  for (const use of value.uses) {
    const decode = use.node.op === Decode.schema.op;
    const refused = decode ? refuserBelow(use.node.output, size, part) : down[use.node.op]?.freedom(use.node, use.index, size)?.can[part];
    if (decode && refused) return refused as string;
    if (!decode && !refused) return describe(use.node);
  }
  return null;
}

const describe = (node: Node): string => (node.name === '' ? `${node.op} %${node.output.name}` : `${node.op} ${node.name}`);

/** What the value's readers take. */
export function freedomBelow(value: Value, size: number): Freedom {
  return [...value.uses].reduce<Freedom>((f, use) => {
    if (use.node.op === Decode.schema.op) return meet(f, freedomBelow(use.node.output, size));
    return meet(f, down[use.node.op]?.freedom(use.node, use.index, size) ?? pinned(size));
  }, free(size));
}
