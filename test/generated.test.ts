import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { opHistory } from '../codegen/onnx/op-history.ts';
import { opClasses } from '../ir/ops/generated.ts';
import { opClasses as microsoftClasses } from '../ir/ops/microsoft.ts';
import { irOpset } from '../ir/graph.ts';

const folder = mkdtempSync(join(tmpdir(), 'qc-generated-'));
beforeAll(() => {
  for (const script of ['scripts/generate-ops.ts', 'scripts/generate-operators.ts', 'scripts/generate-simd.ts'])
    execFileSync(process.execPath, ['node_modules/.bin/tsx', script, folder], { stdio: 'pipe' });
}, 120_000);
afterAll(() => rmSync(folder, { recursive: true }));

/** The text but for layout: formatters may wrap it, and change quotes and trailing commas. */
const bare = (path: string): string =>
  readFileSync(path, 'utf8')
    .replace(/\s+/g, '')
    .replaceAll('"', "'")
    .replace(/,(?=[\])}])/g, '')
    .replace(/[;]/g, '');

describe('what the generators write is what is committed', () => {
  test.each([
    ['ir/ops/generated.ts', 10_000],
    ['ir/ops/microsoft.ts', 5000],
    ['codegen/onnx/op-history.ts', 10_000],
    ['codegen/kernels/operators.ts', 1000],
    ['kernels/src/operators/table.h', 1000],
    ['ir/simd/module.ts', 1000],
  ])('%s', (path, least) => {
    const [made, committed] = [bare(join(folder, path)), bare(path)];
    expect(made.length).toBeGreaterThan(least);
    // Not toBe on all of it: the texts are too long to show.
    const at = [...made].findIndex((c, i) => c !== committed[i]);
    expect(at < 0 ? '' : made.slice(at, at + 200)).toBe(at < 0 ? '' : committed.slice(at, at + 200));
    expect(made.length).toBe(committed.length);
  });
});

test('every operator class is of the opset that the IR speaks, and known to the history', () => {
  for (const [name, cls] of Object.entries(opClasses)) {
    expect(cls.schema.op).toBe(name);
    expect(cls.schema.since).toBeLessThanOrEqual(irOpset);
    expect(opHistory[name]?.some((v) => v.since === cls.schema.since)).toBe(true);
    expect(opHistory[name]!.findLast((v) => v.since <= irOpset)!.inputs).toBe(cls.schema.inputs.length);
  }
});

test('every operator class of ONNX Runtime has its domain, but for the one that stands in the default domain', () => {
  const inDefault = ['SimplifiedLayerNormalization'];
  for (const [name, cls] of Object.entries(microsoftClasses))
    expect(cls.schema.op).toBe(inDefault.includes(name) ? name : `com.microsoft.${name}`);
});
