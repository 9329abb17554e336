import type { Value } from '../../ir/graph.ts';
import { isOutput } from '../../ir/pattern.ts';

/** What makes a value, for a message. */
export const makerOf = (v: Value): string => (v.producer ? aWord(v.producer.op) : v.constant ? 'a constant' : 'an input of the graph');

/** What reads a value, for a message. */
export function readersOf(v: Value): string {
  const ops = [...new Set([...v.uses].map((u) => u.node.op))].map(aWord);
  return [...ops, ...(isOutput(v) ? ['an output of the graph'] : [])].join(' and ');
}

const aWord = (op: string): string => `${/^[AEIOU]/.test(op) ? 'an' : 'a'} ${op}`;
