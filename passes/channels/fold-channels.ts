import { Builder } from '../../ir/builder.ts';
import { compose, equalTransforms, factor, inverse, isIdentity, transformAttributes, type ChannelTransform } from '../../ir/channel.ts';
import { admits } from '../../ir/freedom.ts';
import type { Graph, Node, Value } from '../../ir/graph.ts';
import { Decode, Encode } from '../../ir/ops/qc.ts';
import { viewAs } from '../../ir/ops/view.ts';
import { eraseDead } from '../../ir/rewrite.ts';
import { nameOf } from '../infra/ledger.ts';
import { definePass, type PassContext } from '../infra/pass.ts';
import { isNorm } from '../model/norms.ts';
import { recordOf } from '../operators/index.ts';
import { left, partsText, whyLeft } from './left.ts';

/**
 * Makes changes of basis disappear: every Encode moves up into the weights, norms and biases that make its operand, every
 * Decode down into the weights that read its result. Each moves strictly one way, so this ends. What nothing takes stays where
 * it is until lowering: a kernel takes it, or it becomes Gather, Mul or Add and is reported.
 */
export const foldChannels = definePass({
  name: 'fold-channels',
  summary: 'fold reorders, shifts and scales into the neighbouring weights',
  contract: 'exact',
  gives: ['folded'],
  // `raise` gives the fact too, because a model begins with it; what was broken since then is mended here.
  defaultFor: ['folded'],
  run(graph, ctx) {
    fold(graph, ctx);
    ctx.count('left', left(graph).length);
  },
});

/** Moves every Encode and Decode of a graph as far as it goes. */
export function fold(graph: Graph, ctx: Counter): void {
  for (let moved = true; moved;) {
    moved = false;
    for (const node of [...graph.nodes].toReversed())
      if (viewAs(Encode, node) && node.graph) moved = foldEncode(graph, new Encode(node), ctx) || moved;
    for (const node of graph.nodes) if (viewAs(Decode, node)) moved = foldDecode(graph, new Decode(node), ctx) || moved;
  }
  eraseDead(graph);
  ctx.ledger.refuse(
    'fold-channels',
    left(graph).map((view) => whyLeft(graph, view)),
  );
}

/** What folding reports to. */
type Counter = Pick<PassContext, 'count' | 'ledger'>;

/** One step of an Encode: merge with the Encode or Decode above, or enter the node above. */
function foldEncode(graph: Graph, encode: Encode, ctx: Counter): boolean {
  if (encode.y.uses.size === 0) return false;
  const t = encode.transform;
  const above = encode.x.producer;
  if (isIdentity(t)) return settle(graph, encode, encode.x, t, ctx, 'identity');
  if (join(graph, encode, t, ctx)) return true;
  const first = viewAs(Encode, above) ?? viewAs(Decode, above);
  if (first) {
    const both = compose(first.transform, t);
    if (first.node.op === Encode.schema.op || isIdentity(both)) return settle(graph, encode, first.x, both, ctx, 'merged');
  }
  return above !== null && enter(graph, encode, above, ctx);
}

/** Encodes of one value that are the same become one: those of both factors of silu(g) = g sigmoid(g) meet at g. */
function join(graph: Graph, encode: Encode, t: ChannelTransform, ctx: Counter): boolean {
  const same = [...encode.x.uses].flatMap(({ node }) => viewAs(Encode, node) ?? []).filter((e) => equalTransforms(e.transform, t));
  if (same.length < 2) return false;
  ctx.count('merged');
  const one = Builder.behind(graph, encode.x).make(Encode, { x: encode.x }, { attributes: transformAttributes(t), like: encode.y });
  for (const { node, y } of same) {
    graph.replaceUses(y, one.y);
    graph.erase(node);
  }
  return true;
}

/** T(f(x)): what `f` can take of T moves into it; the rest stays. */
function enter(graph: Graph, encode: Encode, above: Node, ctx: Counter): boolean {
  const t = encode.transform;
  const behaviour = recordOf(above).up;
  const output = above.outputs.indexOf(encode.x);
  const freedom = behaviour?.freedom(above, t.size, output);
  if (!behaviour || !freedom) return false;
  const whole = factor(t, freedom.can);
  // An order that crosses the operator's cells stays; scale and shift may still go in.
  const { moves, stays } = admits(freedom, whole.moves) ? whole : factor(t, { ...freedom.can, perm: false });
  if (isIdentity(moves) || !admits(freedom, moves)) return false;
  if (!separate(graph, encode, moves, behaviour.givesBack === true && moves.perm === null)) return false;
  behaviour.absorb(graph, above, moves, output);
  if (isNorm(above)) ctx.ledger.done('norm', nameOf(above), `took ${partsText(moves)}`);
  return settle(graph, encode, encode.x, stays, ctx, `into ${above.op}`);
}

/** Sees to it that no one but `encode` reads its operand; other readers get the old value back through a Decode if that is cheap. */
function separate(graph: Graph, encode: Encode, moves: ChannelTransform, cheap: boolean): boolean {
  const value = encode.x;
  const others = [...value.uses].filter((u) => u.node !== encode.node && !recordOf(u.node).readsExtents);
  const isOutput = graph.outputs.includes(value);
  if (others.length === 0 && !isOutput) return true;
  if (!cheap || isOutput) return false;
  const back = { attributes: transformAttributes(inverse(moves)), like: value };
  const decode = Builder.behind(graph, value).make(Decode, { x: value }, back);
  for (const use of others) graph.setInput(use.node, use.index, decode.y);
  return true;
}

/** `encode` becomes Encode{t} on `source`, or nothing at all. */
function settle(graph: Graph, encode: Encode, source: Value, t: ChannelTransform, ctx: Counter, statistic: string): boolean {
  ctx.count(statistic);
  const replacement = isIdentity(t)
    ? source
    : Builder.before(encode.node).make(Encode, { x: source }, { attributes: transformAttributes(t), like: encode.y }).y;
  graph.replaceUses(encode.y, replacement);
  graph.erase(encode.node);
  return true;
}

/** One step of a Decode: every reader that can take it takes it. */
function foldDecode(graph: Graph, decode: Decode, ctx: Counter): boolean {
  let moved = false;
  if (isIdentity(decode.transform)) {
    graph.replaceUses(decode.y, decode.x);
    ctx.count('identity');
    moved = true;
  }
  for (const use of [...decode.y.uses]) {
    const next = viewAs(Decode, use.node);
    if (next) {
      const both = compose(decode.transform, next.transform);
      const details = { attributes: transformAttributes(both), like: next.y };
      const merged = Builder.before(next.node).make(Decode, { x: decode.x }, details);
      graph.replaceUses(next.y, merged.y);
      graph.erase(next.node);
      ctx.count('merged');
      moved = true;
    } else if (use.value === decode.y && recordOf(use.node).down?.absorb(graph, use, decode)) {
      ctx.count(`into ${use.node.op}`);
      moved = true;
    }
  }
  if (decode.y.uses.size === 0 && !graph.outputs.includes(decode.y)) graph.erase(decode.node);
  return moved;
}
