import { irOpset, type Graph } from '../../../ir/graph.ts';
import { neededOpset } from '../../onnx/opset.ts';
import { plainRmsNormalization } from './rms-normalization.ts';
import { plainRotaryEmbedding } from './rotary-embedding.ts';

/**
 * Whether norms and rotary embeddings as primitives let the graph be of an opset before 23, which brought their operators. Where something
 * else needs that opset, what runs the graph has these operators as well.
 */
export const takesPrimitives = (graph: Graph): boolean =>
  neededOpset(graph, (node) => plainRmsNormalization(node) === null && plainRotaryEmbedding(node) === null) < irOpset;
