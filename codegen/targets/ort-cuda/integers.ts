import { int } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import type { Graph, Node, Value } from '../../../ir/graph.ts';
import { FakeQuantize } from '../../../ir/ops/qc.ts';
import { viewAs } from '../../../ir/ops/view.ts';
import { encodeFloats, floats, inMemory, lazy, scalar } from '../../../ir/tensor.ts';
import { tensorType } from '../../../ir/types.ts';
import { addBias } from '../../../ir/weights.ts';
import { smallestHalf } from '../half/precision.ts';
import { offsetProduct, type QuantizedWeight } from '../quantized.ts';
import { quantizerOf } from './quantizer.ts';

/** The codes of the quantizers that a graph has, made once for all products that read them. */
export type Codes = Map<Node, Value>;

/**
 * From how many rows of the weight on MatMulInteger pays. Its sums go to memory as int32, and Cast, Mul and Add read and write them
 * in f32: 28 bytes for each result beyond what an f16 product with a bias moves. Against that stands the time of K of 2K operations, int8
 * being twice as fast as f16. From the published peak rates of cards (150 to 300 f16 operations for each byte of memory bandwidth) both are
 * equal at 4200 to 8400 rows. Computed, not measured. With few tokens nothing is gained or lost by this: the weight is what is read, in
 * one byte for each element as with MatMulNBits.
 */
const longProduct = 8192;

/** cuBLAS wants rows of whole 32 bytes; others are copied to be so, at every run. */
const alignment = 32;

/** Why a product of what `quantizer` gives does not become MatMulInteger; null when it does. */
export function integerRefusal(quantizer: Node, w: QuantizedWeight): string | null {
  const fake = viewAs(FakeQuantize, quantizer);
  if (!fake) return 'ranges found at run time take longer than they save';
  const [scale, zero] = [fake.scale.constant, fake.zero.constant];
  if (scale?.shape[0] !== 1 || !zero) return 'ONNX Runtime has no product of clusters on CUDA';
  if (fake.qmax !== 127) return `ONNX Runtime has no product of codes from ${fake.qmin} to ${fake.qmax} on CUDA`;
  if (w.rows < longProduct) return `a product of ${w.rows} rows is too short for MatMulInteger, which pays from ${longProduct} on`;
  if (w.rows % alignment !== 0 || w.columns % alignment !== 0) return `its weight is not a multiple of ${alignment} on both sides`;
  if (w.sizes.length > 1 || floats(w.zero).some((z) => z !== 0)) return 'its weight is not symmetric with one scale for each column';
  const z = floats(zero)[0]!;
  if (z < -128 || z > 127) return 'its zero point is no code';
  return floats(scale)[0]! < smallestHalf ? 'its scale is too small for f16' : null;
}

/**
 * x Q(W) as QuantizeLinear, MatMulInteger (no zero points: the operator would correct for them at every run), Cast and Mul; the zero point
 * of x joins the bias. Where codes end at -127, QuantizeLinear uses -128 too, for what lies beyond the range.
 */
export function lowerToIntegers(graph: Graph, node: Node, w: QuantizedWeight, codes: Codes): string {
  const fake = new FakeQuantize(quantizerOf(node.input(0))!);
  const scale = halfScale(fake);
  const zero = floats(fake.zero.constant!)[0]!;
  const build = Builder.before(node, node.output.name);
  const shape = node.output.type?.shape ?? null;
  const sums = build.value('MatMulInteger', [codesOf(fake, codes), build.constant('codes', w.codes)], {}, tensorType('i32', shape));
  const wide = build.value('Cast', [sums], { to: int(1) }, tensorType('f32', shape));
  const steps = lazy('f32', [w.columns], () => floats(w.scale).map((s) => s * scale));
  const y = build.value('Mul', [wide, build.constant('scale', steps)], {}, tensorType('f32', shape));
  graph.replace(node.output, y);
  graph.erase(node);
  if (zero !== 0) addBias(y, offsetProduct(new Float32Array(w.rows).fill(-zero * scale), w), `${y.name}.offset`);
  return 'integers: MatMulInteger';
}

/** The scale as f16 has it: the one that QuantizeLinear divides by. */
const halfScale = ({ scale }: FakeQuantize): number => floats(inMemory('f16', [1], encodeFloats('f16', floats(scale.constant!))))[0]!;

function codesOf(fake: FakeQuantize, codes: Codes): Value {
  const known = codes.get(fake.node);
  if (known) return known;
  const build = Builder.before(fake.node, fake.node.output.name);
  const zero = Int8Array.from(floats(fake.zero.constant!));
  const made = build.value(
    'QuantizeLinear',
    [fake.x, build.constant('scale', scalar(halfScale(fake))), build.constant('zero_point', inMemory('i8', [], zero))],
    {},
    tensorType('i8', fake.x.type?.shape ?? null),
  );
  codes.set(fake.node, made);
  return made;
}
