import { permAt, scaleAt, shiftAt, type Capability, type ChannelTransform } from './channel.ts';

/** Which changes of basis a value can take without cost at run time. A lattice under `meet`; `pinned` is its bottom. */
export interface Freedom {
  readonly size: number;
  readonly can: Capability;
  /** Channel to cell: an order keeps every channel in its cell (a head, a rotary pair). Null: one cell. */
  readonly cells: Uint32Array | null;
  /** Channel to leader: a channel does what its leader does, inside its own cell (query heads that share a value head). Null: no ties. */
  readonly leaders: Uint32Array | null;
  /** The same for orders alone: heads that turn by one table of angles have one order, and each its own scales. */
  readonly orderLeaders: Uint32Array | null;
}

const all: Capability = { perm: true, scale: true, shift: true };
const none: Capability = { perm: false, scale: false, shift: false };

export const only = (size: number, can: Capability): Freedom => ({ size, can, cells: null, leaders: null, orderLeaders: null });
export const free = (size: number): Freedom => only(size, all);
export const pinned = (size: number): Freedom => only(size, none);

/** Heads of `width` channels, `shared` neighbours of which must move alike. */
export function headed(heads: number, width: number, shared: number, can: Capability): Freedom {
  const size = heads * width;
  const head = (i: number) => Math.floor(i / width);
  return {
    size,
    can,
    cells: Uint32Array.from({ length: size }, (_, i) => head(i)),
    leaders: shared === 1 ? null : Uint32Array.from({ length: size }, (_, i) => (head(i) - (head(i) % shared)) * width + (i % width)),
    orderLeaders: null,
  };
}

export function admits(f: Freedom, t: ChannelTransform): boolean {
  if ((t.perm && !f.can.perm) || (t.scale && !f.can.scale) || (t.shift && !f.can.shift)) return false;
  if (f.can.scale === 'positive' && t.scale?.some((s) => s <= 0)) return false;
  for (let i = 0; i < t.size; i++) {
    if (f.cells && f.cells[permAt(t, i)] !== f.cells[i]) return false;
    const leader = f.leaders?.[i] ?? i;
    if (scaleAt(t, i) !== scaleAt(t, leader) || shiftAt(t, i) !== shiftAt(t, leader)) return false;
    if ([leader, f.orderLeaders?.[i] ?? i].some((j) => permAt(t, i) - i !== permAt(t, j) - j)) return false;
  }
  return true;
}

/** What both allow. */
export function meet(a: Freedom, b: Freedom): Freedom {
  const scale = a.can.scale && b.can.scale && (a.can.scale === 'positive' || b.can.scale === 'positive' ? 'positive' : true);
  return {
    size: a.size,
    can: { perm: a.can.perm && b.can.perm, scale, shift: a.can.shift && b.can.shift },
    cells: a.cells && b.cells ? refine(a.cells, b.cells) : (a.cells ?? b.cells),
    leaders: joined(a.leaders, b.leaders),
    orderLeaders: joined(a.orderLeaders, b.orderLeaders),
  };
}

/** Channel to the leader that its order follows. */
export const orderTies = (f: Freedom): Uint32Array | null => joined(f.leaders, f.orderLeaders);

const joined = (a: Uint32Array | null, b: Uint32Array | null): Uint32Array | null => (a && b ? join(a, b) : (a ?? b));

function refine(a: Uint32Array, b: Uint32Array): Uint32Array {
  const ids = new Map<string, number>();
  return a.map((x, i) => {
    const key = `${x},${b[i]}`;
    if (!ids.has(key)) ids.set(key, ids.size);
    return ids.get(key)!;
  });
}

/** Ties of both: the smallest channel that `i` is tied to through either, found by union of the two partitions. */
function join(a: Uint32Array, b: Uint32Array): Uint32Array {
  const root = Uint32Array.from(a, (_, i) => i);
  const find = (i: number): number => {
    let r = i;
    while (root[r] !== r) r = root[r]!;
    return (root[i] = r);
  };
  const union = (x: number, y: number) => {
    const [p, q] = [find(x), find(y)];
    root[Math.max(p, q)] = Math.min(p, q);
  };
  a.forEach((leader, i) => union(i, leader));
  b.forEach((leader, i) => union(i, leader));
  return root.map((_, i) => find(i));
}
