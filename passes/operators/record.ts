import type { ChannelPart, ChannelTransform } from '../../ir/channel.ts';
import type { Freedom } from '../../ir/freedom.ts';
import type { Graph, Node, Use, Value } from '../../ir/graph.ts';
import type { Decode } from '../../ir/ops/qc.ts';
import type { Traits } from '../../ir/ops/traits.ts';
import type { Tensor } from '../../ir/tensor.ts';

/**
 * What an operator is in a transformer. `norm`: normalizes each token. `linear`: multiplies operand 0, [.., in], with operand 1, [in, out].
 * `attention`: its operands 0 to 2 are query, key and value. `softmax`: in the middle of an attention that nothing recognised. `sum`: adds
 * two operands. `multiplication`: multiplies two operands element by element. `marker`: a `qc` identity or change of basis around a site. `quantizer`: rounds its operand 0.
 */
export type OperatorRole = 'norm' | 'linear' | 'attention' | 'softmax' | 'sum' | 'multiplication' | 'marker' | 'quantizer';

/** All that passes know of an operator, beside its traits. A part that is missing is the safe answer: takes nothing, is nothing. */
export interface OperatorRecord extends Traits {
  /** The operator as nodes have it: `MatMul`, `com.microsoft.MatMulNBits`. */
  readonly op: string;
  readonly roles?: readonly OperatorRole[];
  readonly up?: Up;
  readonly down?: Down;
  /** Each token of the result depends on the same token of the operands alone, as far as the other operands are the same for all tokens. */
  readonly tokenwise?: true;
  /** Of an attention: its heads, if a change of basis on `size` query channels may pass them; null if not. */
  readonly heads?: (node: Node, size?: number) => Heads | null;
  /** Of an attention: where keys and values of tokens before come in and go out; none where none come in. */
  readonly caches?: (node: Node) => readonly CacheEnds[];
  /** What the ledger counts a node as that no rule of `raise` took apart. */
  readonly unraised?: 'norm' | 'attention';
  /** Why a product with this constant is no linear; null when it is no product that anybody would ask about. */
  readonly productLeft?: (node: Node, constant: Tensor) => string | null;
}

/**
 * What an operator does with an Encode on its result, or on one of them. `freedom` says which transforms it can take; `absorb` takes one, so that
 * the node's result is T(what it was): into its constants, or as an Encode on an operand, and the walk goes on there.
 */
export interface Up {
  /** Null when this node, in its present form, takes nothing. */
  readonly freedom: (node: Node, size: number, output: number) => Freedom | null;
  readonly absorb: (graph: Graph, node: Node, t: ChannelTransform, output: number) => void;
  /** The operands that an absorbed transform goes on to; none when constants take all of it. */
  readonly onward: (node: Node, size: number, output: number) => readonly Onward[];
  /** Whether other readers of the result are worth a Decode that gives them the old value back. */
  readonly givesBack?: true;
}

export interface Onward {
  readonly operand: number;
  /** The channels of that operand, where they are not as many as those of the result. */
  readonly channels?: number;
  /** What does not go on to it, so that what makes the operand need not take it. */
  readonly without?: readonly ChannelPart[];
}

/** What an operator does with a Decode on one of its operands. */
export interface Down {
  readonly freedom: (node: Node, operand: number, size: number) => Freedom | null;
  /** Makes the operand read the Decode's own operand; false when this Decode cannot be taken after all. */
  readonly absorb: (graph: Graph, use: Use, decode: Decode) => boolean;
}

/** A cache [batch, heads, seq, width] of an attention. */
export interface CacheEnds {
  readonly operand: number;
  readonly past: Value;
  /** With the new tokens behind; null where it is not given out. */
  readonly present: Value | null;
}

export interface Heads {
  readonly queries: number;
  /** Heads of keys and values. */
  readonly keys: number;
  /** Query heads that share one head of keys and values. */
  readonly shared: number;
}
