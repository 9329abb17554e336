import { formatType } from '../../../ir/index.ts';
import { bench, type BenchOptions, type LengthFigures, type ModelFigures } from '../../bench/bench.ts';
import type { Io } from '../command.ts';
import { kernelText } from '../kernel-text.ts';
import { startProgress } from '../progress.ts';
import { bytesText, shortened, table, type Colors } from '../tables.ts';

/** The command line of `qc bench`. */
export interface BenchFlags extends Pick<BenchOptions, 'models' | 'seq' | 'past' | 'runs' | 'threads' | 'kernels'> {
  readonly profile?: true | undefined;
}

/** Prints what the models take. */
export async function benchCommand(flags: BenchFlags, { terminal, signal }: Io): Promise<void> {
  const progress = await startProgress([`bench ${flags.models.join(', ')}`], terminal);
  try {
    progress.begin(0);
    const models = await bench({ ...flags, profile: flags.profile ?? false, signal, onProgress: progress.step });
    await progress.end();
    if (terminal.json) terminal.document({ threads: flags.threads, runs: flags.runs, models });
    else terminal.data(benchText(models, terminal.color));
  } catch (error) {
    await progress.end(error);
    throw error;
  }
}

function benchText(models: readonly ModelFigures[], colors: Colors): string {
  return [modelsText(models, colors), timesText(models, colors), ...models.flatMap((m) => operatorsText(m, colors))].join('\n');
}

function modelsText(models: readonly ModelFigures[], colors: Colors): string {
  const rows = models.map((m) => [
    shortened(m.model),
    bytesText(m.bytes),
    milliseconds(m.load),
    bytesText(m.memory.loaded),
    bytesText(m.memory.peak),
    m.kernels === null ? '' : kernelText(m.kernels),
  ]);
  return table(['model', 'size', 'load ms', 'memory', 'peak', 'runs on'], rows, colors);
}

function timesText(models: readonly ModelFigures[], colors: Colors): string {
  const row = (model: string, l: LengthFigures): readonly string[] => [
    String(l.seq),
    shortened(model),
    milliseconds(l.times.median),
    `${milliseconds(l.times.lower)} to ${milliseconds(l.times.upper)}`,
    l.tokensPerSecond?.toFixed(0) ?? inputsText(l),
    l.ratio.toFixed(3),
  ];
  const rows = models[0]!.lengths.flatMap((_, i) => models.map((m) => row(m.model, m.lengths[i]!)));
  const tokens = models.every((m) => m.lengths.every((l) => l.tokensPerSecond !== null)) ? 'tokens/s' : 'tokens/s or inputs';
  return table(['seq', 'model', 'median ms', 'quartiles', tokens, 'ratio'], rows, colors);
}

/** Of a model that takes no tokens, what it ran on. */
const inputsText = ({ inputs }: LengthFigures): string =>
  Object.entries(inputs)
    .map(([name, type]) => `${name}: ${formatType(type)}`)
    .join(', ');

/** Operators with less than this share are in the JSON only. */
const leastShare = 0.005;

function operatorsText({ model, lengths }: ModelFigures, colors: Colors): readonly string[] {
  return lengths.flatMap(({ seq, operators = [] }) => {
    const shown = operators.filter((o) => o.share >= leastShare);
    const rows = shown.map((o) => [o.operator, String(o.nodes), milliseconds(o.milliseconds), `${(100 * o.share).toFixed(1)} %`]);
    return rows.length === 0 ? [] : [`${shortened(model)}, seq ${seq}`, table(['operator', 'nodes', 'ms', 'share'], rows, colors)];
  });
}

/** Three digits at least. */
const milliseconds = (x: number): string => x.toFixed(x < 10 ? 2 : x < 100 ? 1 : 0);
