import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { built, root } from '../cli/binary.ts';

/** A small run; scripts/mutate.ts says what it looks for. */
test('mutated models give coded errors or results, from import to compile', () => {
  const script = ['--import', 'tsx', join(root, 'scripts/mutate.ts')];
  const counts = ['--imports', '300', '--compiles', '10', '--seed', '3'];
  const from = ['--models', join(root, 'test/fixtures/exported'), '--qc', join(built(), 'src/cli/main.js')];
  const { status, stdout, stderr } = spawnSync(process.execPath, [...script, ...counts, ...from], { encoding: 'utf8' });
  expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: expect.stringMatching(/^0 wrong$/m), stderr: '' });
  const cases = [...stdout.matchAll(/^ *(\d+) {2}(import|compile): /gm)].map(([, count, kind]) => ({ kind, count: Number(count) }));
  const sum = (kind: string): number => cases.filter((c) => c.kind === kind).reduce((n, c) => n + c.count, 0);
  expect([sum('import'), sum('compile')]).toEqual([300, 10]);
  // Mutations that nothing survives, or all do, would show nothing.
  expect(stdout).toMatch(/import: same/);
  expect(stdout).toMatch(/import: QC4105/);
}, 300_000);
