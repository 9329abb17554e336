import { int } from '../../../ir/attributes.ts';
import { BodyWriter, type Body } from '../../onnx/body-writer.ts';
import type { Call } from './call.ts';
import { clusters, codes, perChannel, quantized, rows, rowsOf, unrows } from './clusters.ts';
import { cast } from './codes.ts';

export function quantizeClusters({ bits }: Call): Body {
  const b = new BodyWriter();
  const groups = clusters(b);
  const x = cast(b, rowsOf(b, 'x', groups.channels), 'f32');
  const made = quantized(b, x, perChannel(b, 'scale', groups), perChannel(b, 'zero', groups), {
    bits: bits('bits'),
    qmin: 'qmin',
    qmax: 'qmax',
  });
  unrows(b, made, 'x', 'codes');
  return { inputs: ['x', 'scale', 'zero'], outputs: ['codes'], attributes: ['groups', 'qmin', 'qmax'], nodes: b.nodes };
}

export function dequantizeClusters({ bits }: Call): Body {
  const b = new BodyWriter();
  const groups = clusters(b);
  const code = codes(b, rows(b, 'codes'), bits('bits'), groups.channels);
  const y = b.node('Mul', [b.node('Sub', [code, perChannel(b, 'zero', groups)]), perChannel(b, 'scale', groups)]);
  unrows(b, y, 'codes', 'y');
  return { inputs: ['codes', 'scale', 'zero'], outputs: ['y'], attributes: ['groups'], nodes: b.nodes };
}

export function quantizeTokens(call: Call): Body {
  const b = new BodyWriter();
  const x = cast(b, rows(b, 'x'), 'f32');
  const number = b.node('Where', [b.node('IsNaN', [x]), cast(b, b.int(0), 'f32'), x]);
  const [least, most] = ['qmin', 'qmax'].map((name) => cast(b, b.attribute(name, 'int'), 'f32')) as [string, string];
  const nought = cast(b, b.int(0), 'f32');
  const low = b.node('Min', [b.node('ReduceMin', [number, b.ints([-1])]), nought]);
  const high = b.node('Max', [b.node('ReduceMax', [number, b.ints([-1])]), nought]);
  const amplitude = b.node('Max', [high, b.node('Neg', [low])]);
  const symmetric = !call.output('zero');
  const extent = symmetric ? b.node('Add', [amplitude, amplitude]) : b.node('Sub', [high, low]);
  const bare = b.node('Div', [extent, b.node('Sub', [most, least])]);
  const scale = b.node('Where', [b.node('Equal', [bare, nought]), cast(b, b.int(1), 'f32'), bare]);
  const zero = symmetric ? null : b.node('Clip', [b.node('Sub', [least, b.node('Round', [b.node('Div', [low, scale])])]), least, most]);
  unrows(b, quantized(b, x, scale, zero, { bits: call.bits('bits'), qmin: 'qmin', qmax: 'qmax' }), 'x', 'codes');
  unrows(b, scale, 'x', 'scale');
  if (zero !== null) unrows(b, zero, 'x', 'zero');
  return { inputs: call.inputs, outputs: call.outputs, attributes: ['qmin', 'qmax'], nodes: b.nodes };
}

/** Layer normalization, or by the root of the mean square, with a reorder and quantization behind it. */
export function normReorderQuantize(call: Call, rms: boolean): Body {
  const b = new BodyWriter();
  const wide = call.input('residual') ? sumOf(b, call.output('sum') ? 'sum' : 'total') : cast(b, 'x', 'f32');
  const normalized = rms ? rmsNorm(b, wide) : layerNorm(b, wide, call.input('beta'));
  if (call.output('normalized')) b.node('CastLike', [normalized, 'x'], {}, 'normalized');
  const groups = clusters(b);
  const flat = rowsOf(b, normalized, groups.channels);
  const placed = call.input('order') ? b.node('Gather', [flat, 'order'], { axis: int(1) }) : flat;
  const bounds = { bits: call.bits('bits'), qmin: 'qmin', qmax: 'qmax' };
  unrows(b, quantized(b, placed, perChannel(b, 'scale', groups), perChannel(b, 'zero', groups), bounds), 'x', 'codes');
  if (call.output('sum') && !call.input('residual')) b.node('Identity', ['x'], {}, 'sum');
  return { inputs: call.inputs, outputs: call.outputs, attributes: ['groups', 'qmin', 'qmax', 'epsilon'], nodes: b.nodes };
}

/** x + residual in f32, rounded to the type of x: few runtimes add bf16. */
function sumOf(b: BodyWriter, as: string): string {
  const sum = b.node('Add', [cast(b, 'x', 'f32'), cast(b, 'residual', 'f32')]);
  return cast(b, b.node('CastLike', [sum, 'x'], {}, as), 'f32');
}

function layerNorm(b: BodyWriter, x: string, biased: boolean): string {
  const inputs = [x, cast(b, 'gamma', 'f32'), ...(biased ? [cast(b, 'beta', 'f32')] : [])];
  return b.referring('LayerNormalization', inputs, 'epsilon', 'float');
}

/** x / sqrt(mean(x²) + epsilon) * gamma: RMSNormalization is younger than the opset of bodies. */
function rmsNorm(b: BodyWriter, x: string): string {
  const square = b.node('ReduceMean', [b.node('Mul', [x, x]), b.ints([-1])], { keepdims: int(1) });
  const root = b.node('Sqrt', [b.node('Add', [square, b.attribute('epsilon', 'float')])]);
  return b.node('Mul', [b.node('Div', [x, root]), cast(b, 'gamma', 'f32')]);
}
