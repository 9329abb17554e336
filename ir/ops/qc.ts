import { transformOf, type ChannelTransform } from '../channel.ts';
import type { Value } from '../graph.ts';
import { OpView } from './view.ts';

const unary = <const Op extends string>(op: Op) =>
  ({ op, since: 1, inputs: [{ name: 'x', option: 'single' }], outputs: [{ name: 'y', option: 'single' }], attributes: {} }) as const;

abstract class Unary extends OpView {
  get x(): Value {
    return this.operand(0);
  }
  get y(): Value {
    return this.node.output;
  }
}

abstract class ChannelOp extends Unary {
  get transform(): ChannelTransform {
    return transformOf(this.node.attributes);
  }
}

/** Brings the last axis into the basis of the site below it. Rules move it up only. */
export class Encode extends ChannelOp {
  static readonly schema = unary('qc.Encode');
}

/** Takes the last axis back from the basis of the site above it. Rules move it down only. */
export class Decode extends ChannelOp {
  static readonly schema = unary('qc.Decode');
}

/**
 * A cache [batch, heads, seq, width] in another basis: every token, taken as [heads * width], under the map. It stands where a cache comes in
 * and where it goes out, with the inverse there, so that in between it may lie in any basis.
 */
export class CacheBasis extends ChannelOp {
  static readonly schema = unary('qc.CacheBasis');
}

/** What a site is to its neighbours: `norm` and `linear` feed linears, `norm` from a norm; the others feed an Attention. */
export const roles = ['norm', 'linear', 'query', 'key', 'value'] as const;
export type Role = (typeof roles)[number];

/** The place where a value will be quantized. An identity that no channel rule crosses. */
export class Site extends Unary {
  static readonly schema = unary('qc.Site');
  /** Stable across passes and runs: the name of the value when it was marked. */
  get key(): string {
    return this.string('key', this.y.name);
  }
  get role(): Role {
    const role = this.string('role', 'linear');
    return roles.find((r) => r === role) ?? 'linear';
  }
  /** Sizes of the runs of channels that will share a scale; null: all share one. */
  get groups(): readonly number[] | null {
    return this.ints('groups');
  }
  /** `token`: a scale for each token is found at run time, though the scheme has static ones. */
  get range(): 'static' | 'token' {
    return this.string('range', 'static') === 'token' ? 'token' : 'static';
  }
}

/** An identity that remembers what calibration saw pass through it (`passes/observe/statistics.ts`). */
export class Observer extends Unary {
  static readonly schema = unary('qc.Observer');
  get key(): string {
    return this.string('key', this.x.name);
  }
  /** From the basis of calibration, in which it remembers, to the present one; null where they are the same. */
  get basis(): ChannelTransform | null {
    return this.node.attributes.has('size') ? transformOf(this.node.attributes) : null;
  }
}

/**
 * Quantizes and dequantizes in float: `s = scale[index]`, `z = zero[index]`, `y = (clip(round(x / s) + z, qmin, qmax) - z) * s`.
 * For an activation [..., C]: scale and zero [G], index [C]. For a weight [in, out]: scale and zero [G, out], index [in].
 */
export class FakeQuantize extends OpView {
  static readonly schema = {
    op: 'qc.FakeQuantize',
    since: 1,
    inputs: [
      { name: 'x', option: 'single' },
      { name: 'scale', option: 'single' },
      { name: 'zero', option: 'single' },
      { name: 'index', option: 'single' },
    ],
    outputs: [{ name: 'y', option: 'single' }],
    attributes: { qmin: { kind: 'int' }, qmax: { kind: 'int' } },
  } as const;
  get x(): Value {
    return this.operand(0);
  }
  get scale(): Value {
    return this.operand(1);
  }
  get zero(): Value {
    return this.operand(2);
  }
  get index(): Value {
    return this.operand(3);
  }
  get y(): Value {
    return this.node.output;
  }
  get qmin(): number {
    return this.int('qmin', -128);
  }
  get qmax(): number {
    return this.int('qmax', 127);
  }
}

/** Quantizes every row of the last axis, or every run of `block` channels of it, with a range found at run time. */
export class DynamicQuantize extends Unary {
  static readonly schema = {
    ...unary('qc.DynamicQuantize'),
    attributes: { qmin: { kind: 'int' }, qmax: { kind: 'int' }, symmetric: { kind: 'int' }, block: { kind: 'int' } },
  } as const;
  get qmin(): number {
    return this.int('qmin', -128);
  }
  get qmax(): number {
    return this.int('qmax', 127);
  }
  get symmetric(): boolean {
    return this.int('symmetric', 0) !== 0;
  }
  /** Channels in a run; 0: the whole row. */
  get block(): number {
    return this.int('block', 0);
  }
}
