import { int } from '../../../ir/attributes.ts';
import { Builder } from '../../../ir/builder.ts';
import { Graph } from '../../../ir/graph.ts';
import { tensorType, type DType } from '../../../ir/types.ts';
import type { Executor } from '../../infra/executor.ts';

/** A matrix by rows. */
export interface Matrix<D> {
  readonly rows: number;
  readonly columns: number;
  readonly data: D;
}

/** Products of matrices that ONNX Runtime computes. */
export interface Products {
  /** A B^T in f64, for A [m, k] and B [n, k]. */
  timesTransposed(a: Matrix<Float64Array>, b: Matrix<Float64Array>): Promise<Float64Array>;
  /** A^T B in f32, for A [k, m] and B [k, n]. */
  transposedTimes(a: Matrix<Float32Array>, b: Matrix<Float32Array>): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Loads the two products; `opsets` are those of the model. */
export async function openProducts(executor: Executor, opsets: ReadonlyMap<string, number>): Promise<Products> {
  const doubles = await executor.load(productGraph('f64', 'transB', opsets));
  const singles = await executor.load(productGraph('f32', 'transA', opsets));
  const shaped = ({ rows, columns, data }: Matrix<Float32Array | Float64Array>) => ({ shape: [rows, columns], data });
  return {
    timesTransposed: async (a, b) =>
      (await doubles.run({ a: { dtype: 'f64', ...shaped(a) }, b: { dtype: 'f64', ...shaped(b) } }))['c']!.data as Float64Array,
    transposedTimes: async (a, b) =>
      (await singles.run({ a: { dtype: 'f32', ...shaped(a) }, b: { dtype: 'f32', ...shaped(b) } }))['c']!.data as Float32Array,
    async close() {
      await doubles.close();
      await singles.close();
    },
  };
}

function productGraph(dtype: DType, turned: 'transA' | 'transB', opsets: ReadonlyMap<string, number>): Graph {
  const graph = new Graph('product');
  for (const [domain, version] of opsets) graph.opsets.set(domain, version);
  const matrix = tensorType(dtype, [null, null]);
  const operands = ['a', 'b'].map((name) => graph.addInput(name, matrix));
  graph.addOutput(Builder.atEnd(graph).value('Gemm', operands, { [turned]: int(1) }, matrix, 'c'));
  return graph;
}
