import { statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { LeftTransform, Lowering } from '../codegen/index.ts';
import { diagnostic, type Diagnostic, type Graph, type Scheme } from '../ir/index.ts';
import { isNorm, nameOf, refusalText, type Ledger, type LedgerEntry, type PassCall, type RunReport } from '../passes/index.ts';

/** What a compile did: printed as a table, or as JSON. */
export interface CompileReport {
  readonly model: string;
  /** The effective pipeline; with the same model and data it gives the same bytes. */
  readonly pipeline: string;
  readonly scheme: string;
  readonly target: string;
  readonly files: readonly WrittenFile[];
  readonly bytesBefore: number;
  readonly bytesAfter: number;
  readonly ledger: readonly LedgerEntry[];
  readonly diagnostics: readonly Diagnostic[];
  readonly passes: readonly PassFigures[];
  readonly left: LeftAtRunTime;
  /** Largest relative difference of the outputs that an exact pass made; null when not checked. */
  readonly exactDifference: number | null;
  /** Largest relative difference between the lowered model and the fake-quantized graph; null when not checked. */
  readonly loweringDifference: number | null;
}

export interface WrittenFile {
  readonly path: string;
  readonly bytes: number;
}

export interface PassFigures {
  readonly call: PassCall;
  readonly counts: Readonly<Record<string, number>>;
  readonly milliseconds: number;
}

/** Operators that channel transforms leave because nothing could take them. */
export interface LeftAtRunTime {
  readonly gathers: number;
  readonly muls: number;
  readonly adds: number;
}

/** What the operators are that channel transforms became. */
export function leftAtRunTime(left: readonly LeftTransform[]): LeftAtRunTime {
  const count = (op: LeftTransform['operators'][number]) => left.filter((t) => t.operators.includes(op)).length;
  return { gathers: count('Gather'), muls: count('Mul'), adds: count('Add') };
}

/** Enters what lowering did into the ledger, and gives a warning for every channel transform that became explicit operators. */
export function enterLowering(ledger: Ledger, { report, left, diagnostics }: Lowering): readonly Diagnostic[] {
  for (const { kind, name, done, left: why } of report) {
    if (done !== undefined) ledger.done(kind, name, done);
    if (why !== undefined) ledger.left(kind, name, why);
  }
  const explicit = left.map(({ node, name, operators, side, neighbour }) => {
    const parts = operators.map((op) => `${op === 'Add' ? 'an' : 'a'} ${op}`).join(', ');
    if (neighbour && side === 'behind' && isNorm(neighbour))
      ledger.left('norm', nameOf(neighbour), `${parts} behind it: a norm reads its input in its own order`);
    const refused = ledger.refusalAt(name);
    const notes = refused ? { notes: [refusalText(refused)] } : {};
    return diagnostic('QC3101', `${parts} left at run time ${side} ${neighbour?.op ?? 'an input'}`, node.loc, notes);
  });
  return [...explicit, ...diagnostics];
}

/** A warning for a compile that quantized nothing of what its scheme covers, with the reasons that the ledger has. */
export function nothingDone(run: RunReport, ledger: Ledger, scheme: Scheme): readonly Diagnostic[] {
  const quantized = (what: string): number => run.passes.reduce((n, p) => n + (p.counts.get(what) ?? 0), 0);
  const wanted = [scheme.weights && 'weights', Object.keys(scheme.activations).length > 0 && 'activations'];
  const missing = wanted.filter((what): what is string => typeof what === 'string' && quantized(what) === 0);
  if (missing.length === 0) return [];
  const linears = ledger.entries.filter((e) => e.kind === 'linear');
  const reasons = [...new Set(linears.flatMap((e) => e.left))];
  const why = linears.length === 0 ? ['no linear was recognised'] : reasons.length === 0 ? ['no site was marked'] : reasons;
  return [diagnostic('QC3303', `no ${missing.join(' and no ')} quantized: ${why.join('; ')}`)];
}

/** Bytes of a model file and of the side files that its weights lie in. */
export function bytesOfModel(path: string, graph: Graph): number {
  const sides = new Set<string>();
  for (const c of graph.constants) if (c.constant?.origin.kind === 'file') sides.add(resolve(dirname(path), c.constant.origin.path));
  sides.add(resolve(path));
  return [...sides].reduce((n, file) => n + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);
}
