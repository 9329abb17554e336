import { afterAll, describe, expect, test } from '@jest/globals';
import { cloneGraph, parseGraph, sites, type Graph } from '../../ir/index.ts';
import { Ledger, largestDifference, PassManager, passes, runOnce, type LedgerEntry } from '../../passes/index.ts';
import { syntheticFeeds } from '../../src/model.ts';
import { fileSpool } from '../../src/runtime/spool.ts';
import { plainExecutor, inMemory } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

/** Spellings of a product of %x: f32[B,S,8] or %t: f32[6,8] that quantize. */
const known: Readonly<Record<string, string>> = {
  MatMul: 'const %w: f32[8,4] = random 3 %y = MatMul(%x, %w)',
  'MatMul and a bias': 'const %w: f32[8,4] = random 3 const %b: f32[4] = random 4 %p = MatMul(%x, %w) %y = Add(%b, %p)',
  'MatMul with [1,K,N] and [1,1,N]': 'const %w: f32[1,8,4] = random 3 const %b: f32[1,1,4] = random 4 %p = MatMul(%x, %w) %y = Add(%p, %b)',
  'MatMul with a turned weight': 'const %w: f32[4,8] = random 3 %v = Transpose(%w) {perm = [1, 0]} %y = MatMul(%x, %v)',
  'the weight first': 'const %w: f32[4,8] = random 3 %i = Transpose(%x) {perm = [0, 2, 1]} %y = MatMul(%w, %i)',
  'the weight first, a column of biases':
    'const %w: f32[4,8] = random 3 const %b: f32[4,1] = random 4 %i = Transpose(%x) {perm = [0, 2, 1]} %p = MatMul(%w, %i) %y = Add(%p, %b)',
  'the weight first, a bias behind the transpose': `const %w: f32[1,4,8] = random 3 const %b: f32[4] = random 4
    %i = Transpose(%x) {perm = [0, 2, 1]} %p = MatMul(%w, %i) %q = Transpose(%p) {perm = [0, 2, 1]} %y = Add(%q, %b)`,
  'Gemm without a bias': 'const %w: f32[8,4] = random 3 %y = Gemm(%t, %w)',
  'Gemm with [N]': 'const %w: f32[4,8] = random 3 const %b: f32[4] = random 4 %y = Gemm(%t, %w, %b) {transB = 1}',
  'Gemm with [1,N], alpha and beta':
    'const %w: f32[8,4] = random 3 const %b: f32[1,4] = random 4 %y = Gemm(%t, %w, %b) {alpha = 0.5, beta = 3.0}',
  'Gemm with [1]': 'const %w: f32[8,4] = random 3 const %b: f32[1] = [2.0] %y = Gemm(%t, %w, %b) {beta = 2.0}',
  'Gemm with a number': 'const %w: f32[8,4] = random 3 const %b: f32[] = [2.0] %y = Gemm(%t, %w, %b)',
  'Gemm with [M,N]': 'const %w: f32[8,4] = random 3 const %b: f32[6,4] = random 4 %y = Gemm(%t, %w, %b) {beta = 2.0}',
  'Gemm with [M,1]': 'const %w: f32[8,4] = random 3 const %b: f32[6,1] = random 4 %y = Gemm(%t, %w, %b)',
  'Gemm with a computed bias':
    'const %w: f32[8,4] = random 3 const %i: i64[1] = [1] %b = ReduceMax(%t, %i) %y = Gemm(%t, %w, %b) {beta = 0.5}',
  'Gemm of a transposed input': `const %w: f32[4,8] = random 3 const %b: f32[4] = random 4 %i = Transpose(%t) {perm = [1, 0]}
    %y = Gemm(%i, %w, %b) {transA = 1, transB = 1, alpha = 2.0}`,
  'Einsum bsk,kn->bsn': 'const %w: f32[8,4] = random 3 %y = Einsum(%x, %w) {equation = "bsk,kn->bsn"}',
  'Einsum bsk,nk->bsn': 'const %w: f32[4,8] = random 3 %y = Einsum(%x, %w) {equation = "bsk,nk->bsn"}',
  'Einsum bsd,dhk->bshk': 'const %w: f32[8,2,3] = random 3 %y = Einsum(%x, %w) {equation = "bsd,dhk->bshk"}',
  'Einsum bshk,hkd->bsd':
    'const %w: f32[2,4,5] = random 3 const %s: i64[4] = [0, 0, 2, 4] %h = Reshape(%x, %s) %y = Einsum(%h, %w) {equation = "bshk,hkd->bsd"}',
};

/** Products that stay, and words of the reason in the ledger. */
const left: Readonly<Record<string, readonly [reason: string, text: string]>> = {
  'a weight for each member of the batch': ['its weight is not one matrix', 'const %w: f32[2,8,4] = random 3 %y = MatMul(%x, %w)'],
  'the weight first, before unknown axes': [
    'its weight stands first',
    'const %w: f32[4,6] = random 3 %o = Unsqueeze(%t, %zero) %i = Squeeze(%o) %y = MatMul(%w, %i)',
  ],
  'Einsum with a batch of matrices': [
    'not a product with one matrix',
    'const %w: f32[2,8,4] = random 3 %y = Einsum(%x, %w) {equation = "bsk,bkn->bsn"}',
  ],
  'Einsum that turns its result': [
    'not a product with one matrix',
    'const %w: f32[8,4] = random 3 %y = Einsum(%x, %w) {equation = "bsk,kn->bns"}',
  ],
  'Einsum that multiplies elements': [
    'not a product with one matrix',
    'const %w: f32[2,8] = random 3 %y = Einsum(%x, %w) {equation = "bsk,bk->bsk"}',
  ],
  'a Conv with a kernel of 1': [
    'a Conv with a kernel of 1',
    'const %w: f32[4,8,1] = random 3 %i = Transpose(%x) {perm = [0, 2, 1]} %y: f32[2,4,3] = Conv(%i, %w)',
  ],
  FusedGemm: [
    'com.microsoft.FusedGemm is not taken apart',
    `const %w: f32[8,4] = random 3 const %r: i64[2] = [6, 8] const %b: i64[3] = [2, 3, 4] %f: f32[6,8] = Reshape(%x, %r)
    %g: f32[6,4] = com.microsoft.FusedGemm(%f, %w) {activation = "Elu", activation_alpha = 1.0, alpha = 1.0, beta = 1.0, transA = 0, transB = 0} %y: f32[2,3,4] = Reshape(%g, %b)`,
  ],
  'a linear inside an If': [
    'inside the body of If',
    `const %w: f32[8,8] = random 3 %y: f32[2,3,8] = If(%c) {
      then_branch = graph @a() { %m: f32[2,3,8] = MatMul(%x, %w) return %m }, else_branch = graph @b() { %n: f32[2,3,8] = Neg(%x) return %n } }`,
  ],
};

const graphOf = (text: string): Graph =>
  parseGraph(`graph @g(%x: f32[2,3,8], %t: f32[6,8], %c: bool[]) { const %zero: i64[1] = [0] ${text} return %y }`);

async function marked(graph: Graph): Promise<{ readonly linears: readonly LedgerEntry[]; readonly codes: readonly string[] }> {
  const ledger = new Ledger();
  const services = { executor, spool: fileSpool, store: inMemory, samples: null, mask: null, statistics: null };
  const plan = new PassManager(passes).plan('raise,fold-constants,mark-sites,observe');
  const { diagnostics } = await plan.run(graph, { services, contract: null, ledger });
  return { linears: ledger.entries.filter((e) => e.kind === 'linear'), codes: diagnostics.map((d) => d.code) };
}

async function expectSameMeaning(before: Graph, after: Graph): Promise<void> {
  const feeds = syntheticFeeds(before);
  const expected = await runOnce(executor, before, feeds);
  expect(Object.values(expected).some((t) => Array.from(t.data, Number).some((x) => x !== 0))).toBe(true);
  expect(largestDifference(expected, await runOnce(executor, after, feeds))).toBeLessThan(1e-5);
}

describe('is a linear, and computes what it did', () => {
  test.each(Object.entries(known))('%s', async (_, text) => {
    const graph = graphOf(text);
    const before = cloneGraph(graph);
    const { linears } = await marked(graph);
    expect(linears).toMatchObject([{ left: [] }]);
    expect(sites(graph)).toHaveLength(1);
    await expectSameMeaning(before, graph);
  });
});

test('a product with one row, as of positions and frequencies, is no linear, and nobody asks', async () => {
  const graph = graphOf('const %w: f32[1,4] = random 3 const %two: i64[1] = [2] %p = ReduceMean(%x, %two) %y = MatMul(%p, %w)');
  expect((await marked(graph)).linears).toEqual([]);
  expect(sites(graph)).toEqual([]);
});

describe('is listed with a reason, and stays', () => {
  test.each(Object.entries(left))('%s', async (_, [reason, text]) => {
    const graph = graphOf(text);
    const before = cloneGraph(graph);
    const { linears, codes } = await marked(graph);
    expect(linears).toMatchObject([{ done: [], left: [expect.stringContaining(reason)] }]);
    expect(codes).toEqual(reason.includes('body') ? ['QC3302'] : []);
    expect(sites(graph)).toEqual([]);
    await expectSameMeaning(before, graph);
  });
});
