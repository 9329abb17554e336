import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import { inspect } from '../src/inspect.ts';
import { families, familyPath } from './support/families.ts';

const kinds = ['linears', 'norms', 'attentions', 'caches'] as const;

/** What docs/families.md says is recognised, by model; null where it has an error code. */
const documented = new Map(
  readFileSync('docs/families.md', 'utf8')
    .split('\n')
    .filter((line) => /^\| [a-z][\w.-]+-[\w.-]+ \|/.test(line))
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map(([, name, ...cells]) => [name!, kinds.map((_, i) => (/^\d+\//.test(cells[i]!) ? Number.parseInt(cells[i]!, 10) : null))] as const),
);

describe('docs/families.md', () => {
  test('has every model', () => expect([...documented.keys()].toSorted()).toEqual([...families].toSorted()));
  test.each([...documented])('%s: no less is recognised than the page says', async (name, counts) => {
    const { recognised } = await inspect(familyPath(name));
    counts.forEach((count, i) => expect([kinds[i], (recognised?.[kinds[i]!] ?? 0) >= (count ?? 0)]).toEqual([kinds[i], true]));
  });
});
