import { writeModel } from '@onnx-qc/qc/codegen';
import { attributes, encodeFloats, Graph, int64s, lazy, Node, tensorType } from '@onnx-qc/qc';

/**
 * Writes a decoder in the form of OPT with random weights, streamed: pre-norm layers of attention and a ReLU MLP four times as wide, learned
 * positions, a head that is tied to the embedding. A few channels behind every norm are outliers.
 * @param {string} path
 * @param {{ layers: number, width: number, vocabulary: number, positions?: number, heads?: number, dtype?: 'f32' | 'f16' }} shape
 * @returns {number} the parameters
 */
export function writeDecoder(path, { layers, width, vocabulary, positions = 2048, heads = width / 64, dtype = 'f32' }) {
  const { float, int, ints } = attributes;
  const graph = new Graph('decoder');
  let seed = 1;
  let parameters = 0;
  /** @param {string} name @param {readonly number[]} shape @param {(i: number, random: number) => number} value of uniform numbers in [-1, 1) */
  const weight = (name, shape, value) => {
    const own = seed++;
    const size = shape.reduce((n, d) => n * d, 1);
    parameters += size;
    const compute = () => {
      const data = new Float32Array(size);
      let state = Math.imul(own, 0x9e3779b1);
      for (let i = 0; i < size; i++) {
        state = (Math.imul(state, 1664525) + 1013904223) | 0;
        data[i] = value(i, state / 2 ** 31);
      }
      return encodeFloats(dtype, data);
    };
    return graph.addConstant(name, lazy(dtype, shape, compute));
  };
  const [batch, seq] = ['batch', 'seq'];
  const hidden = tensorType(dtype, [batch, seq, width]);
  /** @type {(op: string, name: string, inputs: import('@onnx-qc/qc').Value[], type?: import('@onnx-qc/qc').TensorType, more?: import('@onnx-qc/qc').Attributes) => import('@onnx-qc/qc').Value} */
  const node = (op, name, inputs, type = hidden, more = {}) =>
    graph.append(new Node({ op, name, inputs, attributes: more, results: [{ name: `${name}.out`, type }] })).output;
  const spread = 1.7 / Math.sqrt(width);
  /** @param {import('@onnx-qc/qc').Value} x @param {string} name @param {number} inner @param {number} outer @param {number} [gain] */
  const linear = (x, name, inner, outer, gain = 1) => {
    const type = tensorType(dtype, [batch, seq, outer]);
    const w = weight(`${name}.weight`, [inner, outer], (_, r) => r * gain * (1.7 / Math.sqrt(inner)));
    const product = node('MatMul', name, [x, w], type);
    return node('Add', `${name}.bias_add`, [product, weight(`${name}.bias`, [outer], (_, r) => 0.02 * r)], type);
  };
  /** @param {import('@onnx-qc/qc').Value} x @param {string} name */
  const norm = (x, name) => {
    const outlier = (/** @type {number} */ i) => i % Math.ceil(width / 6) === 11;
    const gain = weight(`${name}.gain`, [width], (i, r) => (outlier(i) ? 12 : 1) * (1 + 0.2 * r));
    const bias = weight(`${name}.offset`, [width], (i, r) => (outlier(i) ? 30 : 0.2) * r);
    return node('LayerNormalization', name, [x, gain, bias], hidden, { axis: int(-1), epsilon: float(1e-5) });
  };
  const ids = graph.addInput('input_ids', tensorType('i64', [batch, seq]));
  const table = weight('embedding', [vocabulary, width], (_, r) => spread * r);
  const places = weight('positions', [positions, width], (_, r) => spread * r);
  const end = graph.append(
    new Node({
      op: 'Shape',
      inputs: [ids],
      attributes: { start: int(1), end: int(2) },
      results: [{ name: 'length', type: tensorType('i64', [1]) }],
    }),
  ).output;
  const rows = node(
    'Slice',
    'position_rows',
    [places, graph.addConstant('zero', int64s([1], [0])), end, graph.addConstant('axis', int64s([1], [0]))],
    tensorType(dtype, [seq, width]),
  );
  let x = node('Add', 'embedded', [node('Gather', 'tokens', [table, ids]), rows]);
  for (let l = 0; l < layers; l++) {
    const name = `layer${l}`;
    const h = norm(x, `${name}.norm1`);
    const [q, k, v] = ['q', 'k', 'v'].map((part) => linear(h, `${name}.${part}`, width, width));
    const attention = { q_num_heads: int(heads), kv_num_heads: int(heads), is_causal: int(1) };
    const a = node('Attention', `${name}.attention`, [/** @type {any} */ (q), k, v], hidden, attention);
    x = node('Add', `${name}.residual1`, [x, linear(a, `${name}.o`, width, width, 0.5)]);
    const inner = linear(norm(x, `${name}.norm2`), `${name}.fc1`, width, 4 * width);
    const active = node('Relu', `${name}.relu`, [inner], inner.type ?? undefined);
    x = node('Add', `${name}.residual2`, [x, linear(active, `${name}.fc2`, 4 * width, width, 0.5)]);
  }
  const turned = node('Transpose', 'tied', [table], tensorType(dtype, [width, vocabulary]), { perm: ints([1, 0]) });
  graph.addOutput(node('MatMul', 'logits', [norm(x, 'last_norm'), turned], tensorType(dtype, [batch, seq, vocabulary])));
  writeModel(graph, path, { externalData: 'always' });
  return parameters;
}
