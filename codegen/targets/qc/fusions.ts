import { float, type Attributes } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import { permAt } from '../../../ir/channel.ts';
import { isChannelVector } from '../../../ir/constants.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { Add, LayerNormalization, RMSNormalization } from '../../../ir/ops/generated.ts';
import { Encode } from '../../../ir/ops/qc.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { isOutput } from '../../../ir/pattern.ts';
import { inMemory } from '../../../ir/tensor.ts';
import { emitKernel, resultOf } from '../../kernels/emit-kernel.ts';
import { kernelOperators } from '../../kernels/operators.ts';
import type { Lowered } from '../target.ts';
import { nameOf } from '../nodes.ts';
import { sameShape } from './tail.ts';

/** A product whose result is only quantized gives its codes at once. True when it was so. */
export function fuseProduct(graph: Graph, quantize: Node): boolean {
  const product = quantize.input(0)!.producer;
  if (product?.op !== 'qc.ClusterMatMul' || isOutput(product.output) || !product.output.soleUse) return false;
  const operands = Object.fromEntries(kernelOperators.ClusterMatMul.inputs.map((p, i) => [p.name, product.input(i)]));
  const made = emitKernel(graph, quantize, 'ClusterMatMulQuantize', {
    operands: { ...operands, out_scale: quantize.input(1), out_zero: quantize.input(2) },
    results: { out_codes: quantize.output.type },
    attributes: { ...Object.fromEntries(product.attributes), ...prefixed(quantize) },
    stem: product.output.name,
  });
  graph.replace(quantize.output, made.output);
  graph.erase(quantize);
  graph.erase(product);
  return true;
}

const prefixed = (quantize: Node): Attributes =>
  Object.fromEntries([...quantize.attributes].map(([name, value]) => [`out_${name}`, value]));

/** Normalization, reorder and quantization as one kernel, with the residual sum in front if there is one. Null where there is no norm. */
export function fuseNorm(graph: Graph, quantize: Node): Lowered | null {
  const encode = viewAs(Encode, quantize.input(0)!.producer);
  const reorder = encode && encode.transform.scale === null && encode.transform.shift === null ? encode : null;
  const norm = normOf(reorder ? reorder.x : quantize.input(0)!);
  if (!norm) return null;
  const add = residualOf(norm.x);
  const others = [...norm.node.output.uses].filter(
    (u) => u.node !== quantize && !(u.node === reorder?.node && reorder.y.soleUse?.node === quantize),
  );
  const type = norm.x.type;
  const made = emitKernel(graph, add?.node ?? norm.node, norm.rms ? 'RmsNormReorderQuantize' : 'LayerNormReorderQuantize', {
    operands: {
      x: add ? add.a : norm.x,
      scale: quantize.input(1),
      zero: quantize.input(2),
      gamma: norm.gamma,
      ...(norm.rms ? {} : { beta: norm.beta }),
      order: reorder ? orderOf(norm.node, reorder) : null,
      residual: add?.b,
    },
    results: {
      codes: quantize.output.type,
      ...(others.length > 0 || isOutput(norm.node.output) ? { normalized: norm.node.output.type } : {}),
      ...(add && (add.c.uses.size > 1 || isOutput(add.c)) ? { sum: type } : {}),
    },
    attributes: { ...Object.fromEntries(quantize.attributes), epsilon: float(norm.epsilon) },
    stem: quantize.output.name.replace(/\.codes$/, ''),
  });
  replaceResults(graph, made, { quantize, reorder: reorder?.node ?? null, norm: norm.node, add: add?.node ?? null });
  const parts = [add && 'residual sum', reorder && 'reorder', 'quantization'].filter((p) => p !== null);
  return {
    kind: 'norm',
    name: nameOf(norm.node),
    done: `one kernel with ${parts.join(', ')}`,
  };
}

interface Replaced {
  readonly quantize: Node;
  readonly reorder: Node | null;
  readonly norm: Node;
  readonly add: Node | null;
}

function replaceResults(graph: Graph, made: Node, { quantize, reorder, norm, add }: Replaced): void {
  graph.replace(quantize.output, made.output);
  graph.erase(quantize);
  if (reorder && reorder.output.uses.size === 0) graph.erase(reorder);
  if (norm.output.uses.size > 0 || isOutput(norm.output)) graph.replace(norm.output, resultOf(made, 'normalized'));
  graph.erase(norm);
  if (!add) return;
  if (add.output.uses.size > 0 || isOutput(add.output)) graph.replace(add.output, resultOf(made, 'sum'));
  graph.erase(add);
}

interface Norm {
  readonly node: Node;
  readonly rms: boolean;
  readonly x: Value;
  readonly gamma: Value;
  readonly beta: Value | null;
  readonly epsilon: number;
}

/** The normalization over the last axis that makes a value, if a kernel can do it. */
function normOf(value: Value): Norm | null {
  const node = value.producer;
  const view = viewAs(LayerNormalization, node) ?? viewAs(RMSNormalization, node);
  const type = view?.x.type;
  if (!view || !type?.shape || (type.dtype !== 'f32' && type.dtype !== 'f16')) return null;
  const rms = view instanceof RMSNormalization;
  const beta = rms ? null : (view as LayerNormalization).b;
  const last = view.axis === -1 || view.axis === type.shape.length - 1;
  const constants = isChannelVector(view.scale) && (beta === null || isChannelVector(beta));
  const alone = node!.outputs.slice(1).every((v) => v.uses.size === 0 && !isOutput(v));
  if (!last || !constants || !alone || view.scale.constant!.dtype !== type.dtype) return null;
  return { node: node!, rms, x: view.x, gamma: view.scale, beta, epsilon: view.epsilon };
}

/** The sum of two values of the same shape that a norm reads. */
function residualOf(x: Value): Add | null {
  const add = viewAs(Add, x.producer);
  return add && add.a !== add.b && !add.a.constant && !add.b.constant && sameShape(add.a, add.b) && sameShape(add.a, x) ? add : null;
}

const orderOf = (norm: Node, { transform }: Encode): Value =>
  Builder.before(norm, norm.output.name).constant(
    'order',
    inMemory(
      'i32',
      [transform.size],
      Int32Array.from({ length: transform.size }, (_, i) => permAt(transform, i)),
    ),
  );
