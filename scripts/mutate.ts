/**
 * Mutates models and looks whether `qc` stays sound: `npx tsx scripts/mutate.ts [--imports 10000] [--compiles 1000] [--seed 1] ...`.
 *
 * --imports N   reads N mutated models and writes them again, twice: a coded error, or the same bytes both times; no other error, no crash,
 *               nothing that takes more than twenty seconds.
 * --compiles N  compiles N mutated models that can be read, with passes, scheme and target drawn for each, in processes of their own: exit
 *               code 0 to 4, no signal, an output file after exit 0 and only then, no temporary file left, at most two minutes.
 * --seed N      every case is drawn from this number and its own.
 * --first I     the number of the first case, 0 by default; with it, a long run can be made in parts.
 * --only I      runs the case of this number alone.
 * --qc FILE     the built command line; dist/src/cli/main.js after `npm run build`.
 * --models DIR  where the models come from, more than once for several folders; the fixtures, and ../shared/cases where it is there.
 *
 * It prints how often each exit code and diagnostic code came,
 * and each case that went wrong, whose model it keeps in out/mutate; it exits with 1 if there was one.
 */
import { fork, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { encodeGraph, readModelBytes } from '../codegen/onnx/index.ts';
import { QcError } from '../ir/diagnostics.ts';
import { drawFrom, mutateBytes, mutateStructure, type Draw } from './mutations.ts';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');

/** The models of folders. */
const modelsIn = (folders: readonly string[]): readonly string[] =>
  folders
    .flatMap((folder) => (existsSync(folder) ? readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((f) => join(folder, f)) : []))
    .filter((file) => file.endsWith('.onnx'))
    .sort();

type Kind = 'import' | 'compile';

/** How a case ended: what to count it under, and what is wrong with it. */
interface Ending {
  readonly count: string;
  readonly wrong: string | null;
}

const drawOf = (kind: Kind, seed: number, index: number): Draw =>
  drawFrom(Math.imul(seed, 1_000_003) + 2 * index + (kind === 'import' ? 0 : 1));

function mutated(seeds: readonly string[], seed: number, index: number): Uint8Array {
  const draw = drawOf('import', seed, index);
  const bytes = readFileSync(draw.pick(seeds));
  return draw.int(10) < 3 ? mutateBytes(bytes, draw) : mutateStructure(bytes, draw);
}

const textOf = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message).split('\n').slice(0, 4).join(' | ') : String(error);

function imported(bytes: Uint8Array): Ending {
  const attempt = (input: Uint8Array): Uint8Array | Ending => {
    try {
      return encodeGraph(readModelBytes(input));
    } catch (error) {
      return error instanceof QcError ? { count: error.code, wrong: null } : { count: 'error', wrong: textOf(error) };
    }
  };
  const once = attempt(bytes);
  if (!(once instanceof Uint8Array)) return once;
  const twice = attempt(once);
  if (!(twice instanceof Uint8Array))
    return { count: 'unreadable', wrong: `what was written cannot be read: ${twice.wrong ?? twice.count}` };
  return Buffer.compare(once, twice) === 0
    ? { count: 'same', wrong: null }
    : { count: 'unstable', wrong: 'written twice, the bytes differ' };
}

/** Answers each message, a number and that of its case, with the ending of that case. */
function serveImports(seeds: readonly string[]): void {
  process.on('disconnect', () => process.exit());
  process.on('message', ({ seed, index }: { seed: number; index: number }) => process.send?.(imported(mutated(seeds, seed, index))));
}

/** Cases of one kind, one after the other; whoever comes first takes the next, so that two cores have work. */
async function eachCase(cases: readonly number[], run: (index: number) => Promise<Ending>, done: (index: number, ending: Ending) => void) {
  const rest = [...cases];
  const work = async (): Promise<void> => {
    for (let index = rest.shift(); index !== undefined; index = rest.shift()) done(index, await run(index));
  };
  await Promise.all([work(), work()]);
}

/** Imports in processes that are started again when one crashes or hangs. */
function importers(seeds: readonly string[], seed: number) {
  type Child = ReturnType<typeof fork>;
  const free: Child[] = [];
  const start = (): Child =>
    fork(fileURLToPath(import.meta.url), ['--serve', ...seeds], { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
  const run = (index: number): Promise<Ending> =>
    new Promise((resolve) => {
      const child = free.pop() ?? start();
      const settle = (ending: Ending, usable: boolean): void => {
        clearTimeout(timer);
        child.removeAllListeners();
        if (usable) free.push(child);
        else child.kill('SIGKILL');
        resolve(ending);
      };
      const timer = setTimeout(() => settle({ count: 'hang', wrong: 'took more than 20 s' }, false), 20_000);
      child.once('message', (ending: Ending) => settle(ending, true));
      child.once('exit', (code, signal) => settle({ count: 'crash', wrong: `the process ended: ${signal ?? code}` }, false));
      child.send({ seed, index });
    });
  return { run, end: () => free.forEach((child) => child.disconnect()) };
}

const schemes = ['w8a8', 'w4a8', 'w4a16', 'os+-int8', 'w8a8'] as const;
const targets = ['ort-cpu', 'qc-cpu', 'portable', 'ort-cuda', 'qc-cuda'] as const;
const passes = ['none', 'rptq', 'os+', 'rptq,os+'] as const;

interface CompileCase {
  readonly model: Uint8Array;
  readonly args: readonly string[];
}

function compileCase(seeds: readonly string[], seed: number, index: number, lines: string): CompileCase {
  const draw = drawOf('compile', seed, index);
  for (;;) {
    const file = draw.pick(seeds);
    const model = mutateStructure(readFileSync(file), draw);
    if (imported(model).count !== 'same') continue;
    const arrays = join(dirname(file), 'calib.npz');
    const calibration = ['--calib', existsSync(arrays) ? arrays : lines, '--samples', '2', '--seq', '12', '--threads', '1'];
    return { model, args: ['-p', draw.pick(passes), '--scheme', draw.pick(schemes), '--target', draw.pick(targets), ...calibration] };
  }
}

async function compiled({ model, args }: CompileCase, qc: string): Promise<Ending> {
  const folder = mkdtempSync(join(tmpdir(), 'qc-mutate-'));
  const at = (name: string): string => join(folder, name);
  try {
    for (const name of ['in', 'out', 'tmp']) mkdirSync(at(name));
    writeFileSync(at('in/model.onnx'), model);
    const command = [qc, 'compile', at('in/model.onnx'), ...args, '-o', at('out/model.onnx'), '--json'];
    const { code, signal, stdout, stderr } = await ended(command, { ...process.env, TMPDIR: at('tmp') });
    const files = (name: string): string => readdirSync(at(name)).join();
    const expected = code === 0 ? 'model.onnx' : '';
    const reasons = [
      ...(signal !== null || code === null || code > 4 ? [`exit ${signal ?? code}: ${stdout.slice(0, 600)} ${stderr.slice(-600)}`] : []),
      ...(files('out') === expected ? [] : [`exit ${code} and output files '${files('out')}'`]),
      ...(files('tmp') === '' && files('in') === 'model.onnx' ? [] : [`files left: ${files('tmp')} ${files('in')}`]),
    ];
    return { count: `exit ${signal ?? code} ${codeIn(stdout)}`, wrong: reasons.length > 0 ? reasons.join('; ') : null };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function codeIn(stdout: string): string {
  try {
    const document = JSON.parse(stdout) as { readonly error?: { readonly code: string } };
    return document.error?.code ?? '';
  } catch {
    return 'no JSON';
  }
}

interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

function ended(command: readonly string[], env: NodeJS.ProcessEnv): Promise<Ended> {
  const child = spawn(process.execPath, command, { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000, killSignal: 'SIGKILL' });
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) child[name].setEncoding('utf8').on('data', (text: string) => (texts[name] += text));
  return new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal, ...texts })));
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      imports: { type: 'string', default: '10000' },
      compiles: { type: 'string', default: '1000' },
      seed: { type: 'string', default: '1' },
      first: { type: 'string', default: '0' },
      only: { type: 'string' },
      qc: { type: 'string', default: join(root, 'dist/src/cli/main.js') },
      models: { type: 'string', multiple: true, default: [join(root, 'test/fixtures/exported'), join(root, '../shared/cases')] },
    },
  });
  const seeds = modelsIn(values.models);
  const seed = Number(values.seed);
  const casesOf = (count: string): readonly number[] =>
    Number(count) === 0
      ? []
      : values.only === undefined
        ? Array.from({ length: Number(count) }, (_, i) => Number(values.first) + i)
        : [Number(values.only)];
  const counts = new Map<string, number>();
  let wrongs = 0;
  const note =
    (kind: Kind, modelOf: (index: number) => CompileCase) =>
    (index: number, { count, wrong }: Ending): void => {
      counts.set(`${kind}: ${count}`, (counts.get(`${kind}: ${count}`) ?? 0) + 1);
      if (wrong === null) return;
      wrongs++;
      const { model, args } = modelOf(index);
      const file = join(root, `out/mutate/${kind}-${seed}-${index}.onnx`);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, model);
      console.log(`${kind} --seed ${seed} --only ${index}: ${wrong}\n  ${file} ${args.join(' ')}`);
    };
  const importing = importers(seeds, seed);
  await eachCase(
    casesOf(values.imports),
    importing.run,
    note('import', (index) => ({ model: mutated(seeds, seed, index), args: [] })),
  );
  importing.end();
  const folder = mkdtempSync(join(tmpdir(), 'qc-mutate-'));
  try {
    const lines = join(folder, 'calib.jsonl');
    const ids = Array.from({ length: 2 }, (_, i) => Array.from({ length: 12 }, (_, j) => (i * 37 + j * 11) % 380));
    writeFileSync(lines, ids.map((input_ids) => JSON.stringify({ input_ids })).join('\n'));
    const caseOf = (index: number): CompileCase => compileCase(seeds, seed, index, lines);
    await eachCase(casesOf(values.compiles), (index) => compiled(caseOf(index), values.qc), note('compile', caseOf));
  } finally {
    rmSync(folder, { recursive: true });
  }
  for (const [what, count] of [...counts].sort()) console.log(`${String(count).padStart(7)}  ${what}`);
  console.log(`${wrongs} wrong`);
  process.exitCode = wrongs > 0 ? 1 : 0;
}

const [first, ...rest] = process.argv.slice(2);
if (first === '--serve') serveImports(rest);
else await main();
