/** The table of all that passes know of operators, and questions to it. */
import type { Node } from '../../ir/graph.ts';
import { traits } from '../../ir/ops/traits.ts';
import { add, subtraction } from './arithmetic.ts';
import { attention } from './attention.ts';
import { elementwise } from './elementwise.ts';
import { shape } from './extents.ts';
import { fused } from './fused.ts';
import { layerNormalization } from './layer-normalization.ts';
import { matMul } from './mat-mul.ts';
import { multiplications } from './multiplication.ts';
import { products } from './products.ts';
import { qcOperators } from './qc.ts';
import type { OperatorRecord, OperatorRole } from './record.ts';
import { rmsNormalization } from './rms-normalization.ts';
import { rotaryEmbedding } from './rotary-embedding.ts';
import { softmax } from './softmax.ts';
import { split } from './split.ts';

export type { CacheEnds, Heads, OperatorRecord, OperatorRole } from './record.ts';

/** Every operator that passes know something of. */
export const operators: readonly OperatorRecord[] = [
  layerNormalization,
  rmsNormalization,
  matMul,
  add,
  subtraction,
  ...multiplications,
  ...elementwise,
  shape,
  rotaryEmbedding,
  attention,
  softmax,
  split,
  ...products,
  ...fused,
  ...qcOperators,
];

const named = (op: string): OperatorRecord => ({ op, ...operators.find((o) => o.op === op), ...traits[op] });
const table = new Map([...operators.map((o) => o.op), ...Object.keys(traits)].map((op) => [op, named(op)] as const));

/** What is known of an operator that is not in the table. */
const unknown: Omit<OperatorRecord, 'op'> = {};

/** All that passes know of a node's operator. */
export const recordOf = (node: Node): Omit<OperatorRecord, 'op'> => table.get(node.op) ?? unknown;

export const hasRole = (node: Node | null, role: OperatorRole): boolean => node !== null && recordOf(node).roles?.includes(role) === true;
