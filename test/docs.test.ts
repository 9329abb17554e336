import { mkdtempSync, readFileSync, readdirSync, existsSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from '@jest/globals';
import { targetNamed, targets } from '../codegen/index.ts';
import { followList, allowList, castRuleOf } from '../codegen/targets/half/policy.ts';
import { codes, parseGraph, printGraph, verify, type Capability, type Node } from '../ir/index.ts';
import { operators } from '../passes/operators/index.ts';
import { formatPipeline, PassManager, passes, schemes } from '../passes/index.ts';
import { generateDocs, pages } from '../scripts/generate-docs.ts';
import { effectivePipeline } from '../src/effective-pipeline.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const docs = join(root, 'docs');
const read = (...path: readonly string[]): string => readFileSync(join(root, ...path), 'utf8');
const written = [...readdirSync(docs).map((f) => `docs/${f}`), 'README.md', 'examples/custom-pass/README.md'].filter(
  (f) => f.endsWith('.md') && existsSync(join(root, f)),
);

const blocksOf = (text: string, language: string): readonly string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map((m) => m[1]!);

/** The rows of the table whose head starts with this cell. */
function tableOf(text: string, head: string): readonly (readonly string[])[] {
  const lines = text.slice(text.indexOf(`| ${head} |`)).split('\n');
  const rows = lines.slice(
    2,
    lines.findIndex((line) => !line.startsWith('|')),
  );
  return rows.map((row) =>
    row
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim()),
  );
}

describe('generated pages', () => {
  const folder = mkdtempSync(join(tmpdir(), 'qc-docs-'));
  afterAll(() => rmSync(folder, { recursive: true }));

  test.each(Object.keys(pages()))('%s is what the code gives', (name) => {
    generateDocs(folder);
    expect(readFileSync(join(folder, name), 'utf8')).toBe(read('docs', name));
  });
});

describe('docs/text-format.md', () => {
  const blocks = blocksOf(read('docs', 'text-format.md'), 'qcir');

  test('has examples', () => expect(blocks.length).toBeGreaterThan(5));

  test.each(blocks.map((b) => [b.split('(')[0]!, b]))('%s parses, verifies and prints as written', (_, block) => {
    const graph = parseGraph(block);
    verify(graph);
    expect(printGraph(graph)).toBe(block);
  });
});

describe('docs/writing-a-pass.md', () => {
  const text = read('docs', 'writing-a-pass.md');

  test('shows the example as it is', () => expect(blocksOf(text, 'js')[0]).toBe(read('examples', 'custom-pass', 'keep-float.mjs')));

  test.each([
    ['A rule', 'merge-adds.mjs'],
    ['A method, from', 'clip-channels.mjs'],
  ])('"%s" shows parts of %s as they are', (section, file) => {
    const from = text.indexOf(`## ${section}`);
    const blocks = blocksOf(text.slice(from, text.indexOf('\n## ', from)), 'js').filter((b) => !b.includes('runPipeline'));
    expect(blocks.length).toBeGreaterThan(2);
    for (const block of blocks) expect(read('examples', 'custom-pass', file)).toContain(block);
  });

  test('lists the facts that passes give', () => {
    const facts = tableOf(text, 'fact').map(([fact, , givers]) => [fact, givers]);
    const given = [...new Set(passes.flatMap((p) => p.gives))].map((fact) => [
      `\`${fact}\``,
      passes
        .filter((p) => p.gives.includes(fact))
        .map((p) => `\`${p.name}\``)
        .join(', '),
    ]);
    expect(new Map(facts as [string, string][])).toEqual(new Map(given as [string, string][]));
  });
});

describe('docs/architecture.md', () => {
  test('shows the effective pipeline of its command', () => {
    const target = targetNamed(targets, 'portable');
    const pipeline = formatPipeline(effectivePipeline(new PassManager(passes), { passes: 'rptq,os+', scheme: 'w8a8', target }));
    expect(read('docs', 'architecture.md')).toContain(pipeline);
  });
});

describe('docs/methods.md', () => {
  const text = read('docs', 'methods.md');

  test('has the sections that comments in the code point at', () => {
    for (const section of ['1.5', '1.7', '1.8', '2.2', '2.4']) expect(text).toMatch(new RegExp(`^### ${section} `, 'm'));
  });

  const samples: Readonly<Record<string, string>> = {
    LayerNormalization: 'LayerNormalization(%x, %v, %v)',
    RMSNormalization: 'RMSNormalization(%x, %v)',
    MatMul: 'MatMul(%x, %w)',
    Add: 'Add(%x, %v)',
    Mul: 'Mul(%x, %v)',
    Div: 'Div(%x, %v)',
    RotaryEmbedding: 'RotaryEmbedding(%x, %x, %x) {num_heads = 2}',
    Split: 'Split(%x) {axis = -1}',
    Attention: 'Attention(%x, %x, %x) {kv_num_heads = 2, q_num_heads = 2}',
  };
  const nodeFor = (op: string): Node =>
    parseGraph(
      `graph @g(%x: f32[1,N,4]) { const %v: f32[4] = random 1 const %w: f32[4,4] = random 2 %y: f32[1,N,4] = ${samples[op] ?? `${op}(%x)`} return %y }`,
    ).last!;
  const recordNamed = (name: string) => operators.find((o) => o.op === name)!;
  const cells = (can: Capability): readonly string[] =>
    [can.perm, can.scale, can.shift].map((c) => (c === 'positive' ? 'positive' : c ? 'yes' : 'no'));

  test('says what fold-channels lets through upwards', () => {
    const rows = tableOf(text, 'below');
    expect(rows.map(([op]) => op)).toEqual(operators.filter((o) => o.up).map((o) => `\`${o.op}\``));
    for (const [op, ...said] of rows) {
      const name = op!.replaceAll('`', '');
      expect([name, ...said.slice(0, 3)]).toEqual([name, ...cells(recordNamed(name).up!.freedom(nodeFor(name), 4, 0)!.can)]);
    }
  });

  test('says what fold-channels lets through downwards', () => {
    const rows = tableOf(text, 'above');
    expect([...new Set(rows.map(([op]) => op!.replaceAll('`', '').split(' ')[0]))]).toEqual(
      operators.filter((o) => o.down).map((o) => o.op),
    );
    for (const [op, ...said] of rows) {
      const [name, operand] = op!.replaceAll('`', '').split(' ') as [string, string?];
      const index = ['query', 'key', 'value'].indexOf(operand ?? 'query');
      expect([op, ...said.slice(0, 3)]).toEqual([op, ...cells(recordNamed(name).down!.freedom(nodeFor(name), index, 4)!.can)]);
    }
  });
});

describe('docs/methods.md on half precision', () => {
  test('lists the operators by how they take to it', () => {
    const rows = tableOf(read('docs', 'methods.md'), 'computes in').map(([, ops]) => [...ops!.matchAll(/`([\w.]+)`/g)].map((m) => m[1]!));
    expect(rows[0]).toEqual([...allowList]);
    expect(rows[1]).toEqual([...followList]);
    for (const op of ['Softmax', 'Exp', 'Log', 'Pow', 'Sin', 'Cos', 'ReduceSum', 'ReduceMean', 'If', 'Loop', 'Scan', 'CumSum'])
      expect(castRuleOf(op)).toBe('deny');
  });
});

describe('every page', () => {
  test.each(written)('%s: relative links lead somewhere', (file) => {
    const text = read(file)
      .replace(/^```.*?^```$/gms, '')
      .replace(/`[^`\n]*`/g, '');
    const targets = [...text.matchAll(/\]\(([^)\s]+)\)/g)].map((m) => m[1]!).filter((t) => !/^[a-z]+:|^#/.test(t));
    const broken = targets.filter((t) => !existsSync(resolve(root, dirname(file), t.split('#')[0]!)));
    expect(broken).toEqual([]);
  });

  test.each(written)('%s: codes, passes and schemes exist', (file) => {
    const text = read(file);
    expect([...text.matchAll(/\bQC\d{4}\b/g)].map((m) => m[0]).filter((code) => !(code in codes))).toEqual([]);
    const called = [...text.matchAll(/(?:^|\s)(?:-p|--passes) "?([a-z][\w+,.-]*)/gm)].flatMap((m) => m[1]!.split(','));
    const known = new Set([...passes.map((p) => p.name), 'none', 'keep-float', 'merge-adds', 'clip-channels']);
    expect(called.filter((name) => !known.has(name))).toEqual([]);
    const asked = [...text.matchAll(/--scheme ([\w+-]+)/g)].map((m) => m[1]!);
    expect(asked.filter((name) => !schemes.some((s) => s.name === name))).toEqual([]);
  });
});
