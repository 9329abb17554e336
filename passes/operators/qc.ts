import { Decode, DynamicQuantize, Encode, FakeQuantize, Observer, Site } from '../../ir/ops/qc.ts';
import type { OperatorRecord } from './record.ts';

/** The IR's own operators around a site. */
export const qcOperators: readonly OperatorRecord[] = [
  ...[Site, Observer, Encode, Decode].map(({ schema }): OperatorRecord => ({ op: schema.op, roles: ['marker'] })),
  ...[FakeQuantize, DynamicQuantize].map(({ schema }): OperatorRecord => ({ op: schema.op, roles: ['quantizer'] })),
];
