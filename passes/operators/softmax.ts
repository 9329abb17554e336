import { Softmax } from '../../ir/ops/generated.ts';
import type { OperatorRecord } from './record.ts';

export const softmax: OperatorRecord = { op: Softmax.schema.op, roles: ['softmax'] };
