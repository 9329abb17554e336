import { isCacheKey } from '../../../passes/index.ts';
import { inspect, type Inspection, type InspectOptions, type NamedType } from '../../inspect.ts';
import type { Io } from '../command.ts';
import { bytesText, countText, shortened, table, type Colors } from '../tables.ts';

/** Prints what a model holds. */
export async function inspectCommand(model: string, options: InspectOptions, { terminal }: Io): Promise<void> {
  const found = await inspect(model, options);
  if (terminal.json) terminal.document(found);
  else terminal.data(inspectionText(found, terminal.color));
}

function inspectionText(found: Inspection, colors: Colors): string {
  const { parameters, recognised } = found;
  const lines: readonly (readonly [string, string])[] = [
    ['file', `${found.file} (${bytesText(found.bytes)})`],
    ...found.externalFiles.map((f) => ['', `${f.path} (${bytesText(f.bytes)})`] as const),
    ['format', `IR version ${found.irVersion ?? '?'}, ${entries(found.opsets)}`],
    ['producer', [found.producer.name, found.producer.version].filter((t) => t !== '').join(' ') || 'not named'],
    ...ports('inputs', found.inputs),
    ...ports('outputs', found.outputs),
    ['parameters', `${countText(parameters.count)}, ${bytesText(parameters.bytes)}`],
    ...Object.entries(parameters.byType).map(
      ([type, t]) => ['', `${type.padEnd(6)}${bytesText(t.bytes)} in ${t.tensors} tensors`] as const,
    ),
    ['nodes', `${found.nodes}: ${entries(found.operators)}`],
    ['recognised', recognised ? recognisedText(recognised, found.present!) : `nothing: ${found.notRecognised}`],
    ...(found.movedCaches.length > 0 ? [['caches', movedText(found.movedCaches)] as const] : []),
    // The maps of caches have thousands of numbers.
    ...Object.entries(found.metadata)
      .filter(([key]) => !isCacheKey(key))
      .map(([key, text], i) => [i === 0 ? 'metadata' : '', `${key} = ${text}`] as const),
  ];
  const refused = found.refused ? [refusedText(found.refused, colors)] : [];
  return [...lines.map(([what, text]) => `${what.padEnd(12)}${text}`), ...refused].join('\n');
}

/** A row for each node that a rule recognised in part. */
function refusedText(refused: NonNullable<Inspection['refused']>, colors: Colors): string {
  if (refused.length === 0) return `${'refused'.padEnd(12)}nothing`;
  const rows = refused.map(({ node, op, rule, why, value }) => [
    `${op} ${shortened(node)}`,
    rule,
    why,
    value === null ? '' : `%${shortened(value)}`,
  ]);
  return `\n${table(['node', 'rule', 'reason', 'value'], rows, colors)}`;
}

function recognisedText(
  { linears, heads, norms, attentions, caches, sites }: NonNullable<Inspection['recognised']>,
  present: NonNullable<Inspection['present']>,
): string {
  const of = (n: number, all: number): string => (n === all ? `${n}` : `${n} of ${all}`);
  const counts = [
    `${of(linears, present.linears)} linears (${heads} of them heads)`,
    `${of(norms, present.norms)} norms`,
    `${of(attentions, present.attentions)} attentions (${caches} with a cache)`,
  ];
  return `${counts.join(', ')}; sites: ${entries(sites) || 'none'}`;
}

function movedText(moved: Inspection['movedCaches']): string {
  const [first, ...others] = moved.map(({ past }) => past);
  return `${first}${others.length > 0 ? ` and ${others.length} more lie` : ' lies'} in another basis than in the model that was compiled`;
}

const entries = (counts: Readonly<Record<string, number>>): string =>
  Object.entries(counts)
    .map(([name, n]) => `${name} ${n}`)
    .join(', ');

const ports = (title: string, all: readonly NamedType[]): readonly (readonly [string, string])[] =>
  all.map(({ name, type }, i) => [i === 0 ? title : '', `${name}: ${type ?? 'unknown'}`] as const);
