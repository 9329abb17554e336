import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { expect } from '@jest/globals';
import { lowerTo, targetNamed, targets } from '../../codegen/index.ts';
import { cloneGraph, parseGraph, printGraph, verify, type Diagnostic, type Graph } from '../../ir/index.ts';
import { largestDifference, parsePipeline, runOnce, type Executor, type Feeds } from '../../passes/index.ts';
import { passes } from '../../passes/index.ts';
import { syntheticFeeds } from '../../src/model.ts';
import { everyFact, runPipeline } from './run.ts';

const mark = '// ---- after ----\n';

/** The goldens of a folder. */
export const goldensIn = (folder: string): readonly string[] =>
  readdirSync(folder)
    .filter((f) => f.endsWith('.qcir'))
    .sort()
    .map((f) => join(folder, f));

interface Golden {
  /** The graph before, with its comment lines; without the lines `// expect ...`. */
  readonly head: string;
  readonly pipeline: string;
  readonly target: string | null;
  readonly expected: readonly string[];
  readonly after: string;
}

function readGolden(path: string): Golden {
  const [before, after = ''] = readFileSync(path, 'utf8').split(mark) as [string, string?];
  const lines = before.split('\n');
  if (!/^\/\/ \S/.test(lines[0]!) || /^\/\/ (qc|target|expect)\b/.test(lines[0]!))
    throw new Error(`${path}: the first line is a comment that says what the golden shows`);
  const setting = (key: string): string | null => lines.find((l) => l.startsWith(`// ${key}: `))?.slice(key.length + 5) ?? null;
  return {
    head: lines.filter((l) => !l.startsWith('// expect ')).join('\n'),
    pipeline: setting('qc') ?? 'none',
    target: setting('target'),
    expected: lines.filter((l) => l.startsWith('// expect ')),
    after,
  };
}

const expectation = (d: Diagnostic): string => `// expect ${d.code} ${d.message}${(d.notes ?? []).map((n) => ` (${n})`).join('')}`;

/**
 * Runs `// qc: <pipeline>` over a `.qcir` file, and lowers it if there is a line `// target: <name>`; compares diagnostics with the
 * lines `// expect ...` and the graph with the text after the mark. Text must round-trip after each pass, and where nothing in the
 * pipeline is approximate the graph must compute what it did. UPDATE=1 rewrites the file.
 */
export async function checkGolden(path: string, executor: Executor): Promise<void> {
  const golden = readGolden(path);
  const graph = parseGraph(golden.head, { file: basename(path) });
  const before = cloneGraph(graph);
  const feeds = syntheticFeeds(graph);
  const { diagnostics } = await runPipeline(executor, graph, golden.pipeline, {
    facts: everyFact,
    afterPass: (_, g) => expectRoundTrip(g),
  });
  if (isExact(golden.pipeline)) await expectSameMeaning(executor, before, graph, feeds);
  if (golden.target !== null) {
    const quantized = cloneGraph(graph);
    lowerTo(targetNamed(targets, golden.target), graph);
    verify(graph);
    expectRoundTrip(graph);
    await expectSameMeaning(executor, quantized, graph, feeds);
  }
  const found = diagnostics.map(expectation);
  const printed = printGraph(graph);
  if (process.env['UPDATE']) writeFileSync(path, golden.head.trimEnd() + '\n' + [...found, ''].join('\n') + mark + printed);
  else expect([...found, printed].join('\n')).toBe([...golden.expected, golden.after].join('\n'));
}

const isExact = (pipeline: string): boolean =>
  parsePipeline(pipeline).every((call) => passes.find((p) => p.name === call.name)?.contract === 'exact');

async function expectSameMeaning(executor: Executor, before: Graph, after: Graph, feeds: Feeds): Promise<void> {
  expect(largestDifference(await runOnce(executor, before, feeds), await runOnce(executor, after, feeds))).toBeLessThan(1e-5);
}

/** Small graphs only: a constant that prints as a digest could not be read back. */
function expectRoundTrip(graph: Graph): void {
  const text = printGraph(graph);
  if (!text.includes('digest "')) expect(printGraph(parseGraph(text))).toBe(text);
}
