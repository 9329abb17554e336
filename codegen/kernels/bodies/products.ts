import { int, ints, string } from '../../../ir/attributes.ts';
import { BodyWriter, type Body } from '../../onnx/body-writer.ts';
import type { Call } from './call.ts';
import { clusters, codes, perChannel, quantized, rows, unrows, type Clusters } from './clusters.ts';
import { cast, weightRows } from './codes.ts';

/** scale[g, n] * (w[k, n] - zero[g, n]) as f32 [K, N]: constant, so that runtimes fold it when they load the model. */
function dequantizedWeight(b: BodyWriter, groups: Clusters, bits: number, zeros: boolean): string {
  const padded = codes(b, weightRows(b, 'weight', bits), bits, groups.channels);
  const columns = b.node('Shape', ['scale'], { start: int(1) });
  const turned = b.node('Transpose', [b.node('Slice', [padded, b.ints([0]), columns, b.ints([0])])], { perm: ints([1, 0]) });
  const centred = zeros ? b.node('Sub', [turned, perChannel(b, cast(b, 'zero', 'f32'), groups)]) : turned;
  return b.node('Mul', [centred, perChannel(b, 'scale', groups)]);
}

/** y of ClusterMatMul, f32 rows. */
function product(b: BodyWriter, call: Call): string {
  const groups = clusters(b);
  const a = codes(b, rows(b, 'codes'), call.bits('a_bits'), groups.channels);
  const sum = b.node('MatMul', [a, dequantizedWeight(b, groups, call.bits('w_bits'), call.input('zero'))]);
  const offset = call.input('token_zero') ? b.node('Mul', [rows(b, 'token_zero'), 'offset']) : 'offset';
  const centred = call.input('offset') ? b.node('Sub', [sum, offset]) : sum;
  const scaled = call.input('token_scale') ? b.node('Mul', [centred, rows(b, 'token_scale')]) : centred;
  const active = activated(b, b.node('Add', [scaled, cast(b, 'bias', 'f32')]), call.activation);
  return call.input('multiplier') ? b.node('Mul', [active, cast(b, rows(b, 'multiplier'), 'f32')]) : active;
}

function activated(b: BodyWriter, x: string, activation: string): string {
  switch (activation) {
    case 'relu':
      return b.node('Relu', [x]);
    case 'gelu':
      return b.node('Gelu', [x]);
    case 'gelu_tanh':
      return b.node('Gelu', [x], { approximate: string('tanh') });
    case 'silu':
      return b.node('Mul', [x, b.node('Sigmoid', [x])]);
    default:
      return x;
  }
}

export function clusterMatMul(call: Call): Body {
  const b = new BodyWriter();
  const y = b.node('CastLike', [product(b, call), 'bias']);
  unrows(b, y, 'codes', 'y');
  return { inputs: call.inputs, outputs: ['y'], attributes: ['groups'], nodes: b.nodes };
}

export function clusterMatMulQuantize(call: Call): Body {
  const b = new BodyWriter();
  const y = product(b, call);
  const next = clusters(b, 'out_groups');
  const bounds = { bits: call.bits('out_bits'), qmin: 'out_qmin', qmax: 'out_qmax' };
  unrows(b, quantized(b, y, perChannel(b, 'out_scale', next), perChannel(b, 'out_zero', next), bounds), 'codes', 'out_codes');
  const attributes = ['groups', 'out_groups', 'out_qmin', 'out_qmax'];
  return { inputs: call.inputs, outputs: ['out_codes'], attributes, nodes: b.nodes };
}

/** Int4MatMul and Int3MatMul. */
export function weightMatMul(call: Call, bits: number): Body {
  const b = new BodyWriter();
  const groups = clusters(b);
  const sum = b.node('MatMul', [cast(b, rows(b, 'x'), 'f32'), dequantizedWeight(b, groups, bits, call.input('zero'))]);
  const biased = call.input('bias') ? b.node('Add', [sum, cast(b, 'bias', 'f32')]) : sum;
  unrows(b, b.node('CastLike', [biased, 'x']), 'x', 'y');
  return { inputs: call.inputs, outputs: ['y'], attributes: ['groups'], nodes: b.nodes };
}
