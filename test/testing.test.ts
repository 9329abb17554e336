import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { definePass, eraseDead, ops, viewAs } from '../src/index.ts';
import { checkGolden, goldensIn } from '../src/testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'qc-testing-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** Takes every Neg away, which is no exact thing to do. */
const dropNeg = (contract: 'exact' | 'approximate') =>
  definePass({
    name: 'drop-neg',
    summary: 'a test',
    contract,
    needs: ['raised'],
    run(graph) {
      for (const node of graph.nodes) {
        const neg = viewAs(ops.Neg, node);
        if (neg) graph.replaceUses(neg.y, neg.x);
      }
      eraseDead(graph);
    },
  });

const golden = (name: string, text: string): string => {
  const path = join(folder, `${name}.qcir`);
  writeFileSync(path, text);
  return path;
};
const head = `// A Neg goes.
// qc: drop-neg
graph @g(%x: f32[2]) {
  %n: f32[2] = Neg(%x)
  %y: f32[2] = Relu(%n)
  return %y
}
`;
const after = `// ---- after ----
graph @g(%x: f32[2]) {
  %y: f32[2] = Relu(%x)
  return %y
}
`;

describe('a golden', () => {
  const plugins = [dropNeg('approximate')];
  test('holds where the graph is as the file says', () => checkGolden(golden('right', head + after), { plugins, update: false }));
  test('fails with the difference where it is not, and an update writes what was found', async () => {
    const path = golden('wrong', head + after.replace('Relu', 'Sigmoid'));
    await expect(checkGolden(path, { plugins, update: false })).rejects.toMatchObject({
      code: 'ERR_ASSERTION',
      actual: expect.stringContaining('Relu(%x)'),
      expected: expect.stringContaining('Sigmoid(%x)'),
    });
    await checkGolden(path, { plugins, update: true });
    expect(readFileSync(path, 'utf8')).toBe(head + after);
  });
  test('fails where an exact pass changes what the graph computes', () =>
    expect(checkGolden(golden('inexact', head + after), { plugins: [dropNeg('exact')], update: false })).rejects.toThrow(
      /the outputs differ by/,
    ));
  test('says what it shows', () =>
    expect(checkGolden(golden('silent', head.slice(head.indexOf('\n') + 1) + after), { plugins })).rejects.toThrow(
      /the first line is a comment/,
    ));
  test('is found by its ending', () => {
    writeFileSync(join(folder, 'notes.txt'), '');
    expect(goldensIn(folder)).toContain(join(folder, 'right.qcir'));
    expect(goldensIn(folder).every((f) => f.endsWith('.qcir'))).toBe(true);
  });
});
