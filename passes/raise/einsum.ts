import { formatType, isFloat, sizeOf, tensorType, type Dim } from '../../ir/types.ts';
import type { Value } from '../../ir/graph.ts';
import { MatMul, Reshape } from '../../ir/ops/generated.ts';
import { Builder } from '../../ir/builder.ts';
import { refuse } from '../../ir/pattern.ts';
import type { RewriteRule } from '../../ir/rewrite.ts';
import { reshapedTo, transposed, type Tensor } from '../../ir/tensor.ts';

/** `bsd,dhk->bshk`: lead axes of x, the axes that are summed over, and the axes that the weight brings. */
interface Equation {
  readonly lead: number;
  readonly summed: number;
  /** Whether the weight has the summed axes last. */
  readonly turned: boolean;
}

/** Reads an equation that is a product of x with one matrix: x = lead + summed, result = lead + new, weight = both in either order. */
function productEquation(text: string): Equation | null {
  const [, x = '', w = '', y = ''] = /^([a-zA-Z]+),([a-zA-Z]+)->([a-zA-Z]+)$/.exec(text.replace(/\s/g, '')) ?? [];
  const summed = [...x].filter((c) => !y.includes(c)).join('');
  const brought = [...y].filter((c) => !x.includes(c)).join('');
  const lead = x.slice(0, x.length - summed.length);
  const isProduct =
    summed !== '' &&
    brought !== '' &&
    x === lead + summed &&
    y === lead + brought &&
    new Set(x + brought).size === x.length + brought.length;
  if (!isProduct || (w !== summed + brought && w !== brought + summed)) return null;
  return { lead: lead.length, summed: summed.length, turned: w !== summed + brought };
}

/** Einsum(x, W) that multiplies with one matrix = MatMul, with Reshapes where several axes stand for one. */
export const einsum: RewriteRule = {
  name: 'raise-einsum',
  apply(node, graph) {
    const equation = node.attributes.get('equation');
    const [x, w] = [node.input(0), node.input(1)];
    if (node.op !== 'Einsum' || equation?.kind !== 'string' || node.operands.length !== 2 || !x || !w?.constant) return 'no-match';
    const found = productEquation(equation.value);
    if (!found || !isFloat(w.constant.dtype)) return refuse(`${equation.value} with ${formatType(w.type!)}`, w);
    if (!x.type?.shape) return refuse('the axes of its input are unknown', x);
    const build = Builder.before(node);
    const { weight, brought } = asMatrix(w.constant, found);
    const lead = x.type.shape.slice(0, found.lead);
    const input = found.summed === 1 ? x : reshape(build, x, lead, [weight.shape[0]!]);
    const type = tensorType(x.type.dtype, [...lead, weight.shape[1]!]);
    const product = build.make(
      MatMul,
      { a: input, b: build.constant(w.name, weight) },
      {
        like: node.output,
        type,
        name: node.name,
      },
    );
    graph.replace(node.output, brought.length === 1 ? product.y : reshape(build, product.y, lead, brought));
    return 'applied';
  },
};

/** The weight as [in, out], and the extents that make up `out`. */
function asMatrix(w: Tensor, { summed, turned }: Equation): { readonly weight: Tensor; readonly brought: readonly number[] } {
  const cut = turned ? w.shape.length - summed : summed;
  const [first, second] = [w.shape.slice(0, cut), w.shape.slice(cut)];
  const flat = reshapedTo(w, [sizeOf(first), sizeOf(second)]);
  return turned ? { weight: transposed(flat), brought: first } : { weight: flat, brought: second };
}

/** `x` with its leading axes as they are and other ones behind them. */
function reshape(build: Builder, x: Value, lead: readonly Dim[], rest: readonly number[]): Value {
  const target = [...lead.map(() => 0), ...rest];
  const shape = build.ints('shape', target);
  return build.make(Reshape, { data: x, shape }, { like: x, type: tensorType(x.type!.dtype, [...lead, ...rest]) }).reshaped;
}
