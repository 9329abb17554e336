/** Golden tests of passes: a `.qcir` file holds a graph, a pipeline and what becomes of the graph. For any test runner. */
import { strict as assert } from 'node:assert';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { lowerTo, targetNamed, targets } from '../codegen/index.ts';
import { cloneGraph, parseGraph, printGraph, verify, type Diagnostic, type Graph } from '../ir/index.ts';
import { largestDifference, parsePipeline, PassManager, passes, runOnce, type Executor, type Feeds, type Pass } from '../passes/index.ts';
import { afterMark } from './golden.ts';
import { syntheticFeeds } from './model.ts';
import { OrtExecutor } from './runtime/ort-executor.ts';
import { fileSpool } from './runtime/spool.ts';

/** What a golden runs with. */
export interface GoldenOptions {
  /** Passes beside those of `qc`. */
  readonly plugins?: readonly Pass[];
  /** What runs the graphs; one that the golden has for itself by default. */
  readonly executor?: Executor;
  /** Write what was found into the file and compare nothing; by default, whether the environment variable UPDATE is set. */
  readonly update?: boolean;
}

/** Largest difference of outputs, relative to the largest magnitude of the values, that is taken for rounding. */
const tolerance = 1e-5;

/** The paths of the `.qcir` files of a folder, sorted. */
export const goldensIn = (folder: string): readonly string[] =>
  readdirSync(folder)
    .filter((f) => f.endsWith('.qcir'))
    .sort()
    .map((f) => join(folder, f));

/**
 * Runs `// qc: <pipeline>` over a `.qcir` file, in which all facts hold, and lowers the graph if there is a line `// target: <name>`;
 * compares diagnostics with the lines `// expect <code> <message>`, and the graph with the text after the line `// ---- after ----`. Text
 * must round-trip after each pass, and where every pass of the pipeline is exact, the outputs must stay as they were.
 *
 * Throws `AssertionError` where something differs, `QcError` where the file does not parse or a pass fails, and `Error` where the first
 * line of the file does not say what it shows.
 */
export async function checkGolden(path: string, options: GoldenOptions = {}): Promise<void> {
  if (options.executor) return checkWith(options.executor, path, options);
  const executor = new OrtExecutor({ threads: 1, optimization: 'disabled' });
  try {
    await checkWith(executor, path, options);
  } finally {
    await executor.close();
  }
}

async function checkWith(executor: Executor, path: string, options: GoldenOptions): Promise<void> {
  const golden = readGolden(path);
  const graph = parseGraph(golden.head, { file: basename(path) });
  const diagnostics = await transform(executor, graph, golden, new PassManager([...passes, ...(options.plugins ?? [])]));
  const found = [...diagnostics.map(expectation), printGraph(graph)];
  if (options.update ?? Boolean(process.env['UPDATE'])) writeFileSync(path, updated(golden, found));
  else assert.equal(found.join('\n'), [...golden.expected, golden.after].join('\n'), `${path} shows another result; UPDATE=1 rewrites it`);
}

interface Golden {
  /** The graph before, with its comment lines; without the lines `// expect ...`. */
  readonly head: string;
  readonly pipeline: string;
  readonly target: string | null;
  readonly expected: readonly string[];
  readonly after: string;
}

function readGolden(path: string): Golden {
  const [before, after = ''] = readFileSync(path, 'utf8').split(afterMark) as [string, string?];
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

const updated = ({ head }: Golden, found: readonly string[]): string =>
  `${head.trimEnd()}\n${found
    .slice(0, -1)
    .map((line) => `${line}\n`)
    .join('')}${afterMark}${found.at(-1)}`;

const expectation = (d: Diagnostic): string => `// expect ${d.code} ${d.message}${(d.notes ?? []).map((n) => ` (${n})`).join('')}`;

/** Runs the pipeline and the lowering of a golden; gives what they reported. */
async function transform(executor: Executor, graph: Graph, golden: Golden, manager: PassManager): Promise<readonly Diagnostic[]> {
  const before = cloneGraph(graph);
  const feeds = syntheticFeeds(graph);
  const everyFact = manager.passes.flatMap((p) => p.gives);
  const { diagnostics } = await manager.plan(golden.pipeline, everyFact).run(graph, {
    services: { executor, spool: fileSpool, store: (t) => t, samples: null, mask: 'attention_mask', statistics: null },
    contract: null,
    afterPass: (_, after) => checkRoundTrip(after),
  });
  const isExact = parsePipeline(golden.pipeline).every((call) => manager.find(call.name).contract === 'exact');
  if (isExact) await checkMeaning(executor, before, graph, feeds);
  if (golden.target !== null) await lowered(executor, graph, golden.target, feeds);
  return diagnostics;
}

async function lowered(executor: Executor, graph: Graph, target: string, feeds: Feeds): Promise<void> {
  const before = cloneGraph(graph);
  lowerTo(targetNamed(targets, target), graph);
  verify(graph);
  checkRoundTrip(graph);
  await checkMeaning(executor, before, graph, feeds);
}

async function checkMeaning(executor: Executor, before: Graph, after: Graph, feeds: Feeds): Promise<void> {
  const difference = largestDifference(await runOnce(executor, before, feeds), await runOnce(executor, after, feeds));
  assert.ok(difference < tolerance, `the outputs differ by ${difference} relative to those before`);
}

/** Small graphs only: a constant that prints as a digest could not be read back. */
function checkRoundTrip(graph: Graph): void {
  const text = printGraph(graph);
  if (!text.includes('digest "')) assert.equal(printGraph(parseGraph(text)), text, 'the text of the graph does not read back as itself');
}
