import type { Feeds } from '../../passes/index.ts';
import { floatElements } from './float-elements.ts';

/** The output that holds logits: the one of that name, or one with an element for each word of the vocabulary. */
export function logitsName(outputs: Feeds, vocabulary: number | null): string | null {
  const candidates = Object.entries(outputs).filter(([, t]) => floatElements(t) !== null && t.shape.length === 3);
  const named = candidates.find(([name]) => name === 'logits');
  const fitting = vocabulary === null ? undefined : candidates.find(([, t]) => t.shape.at(-1) === vocabulary);
  return (named ?? fitting)?.[0] ?? null;
}
