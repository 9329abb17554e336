import { statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Lowered } from '../codegen/index.ts';
import { Decode, Encode, viewAs, type Diagnostic, type Graph } from '../ir/index.ts';
import type { Ledger, LedgerEntry, PassCall } from '../passes/index.ts';

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

/** Counts what the Encodes and Decodes of a graph will become. */
export function leftAtRunTime(graph: Graph): LeftAtRunTime {
  const transforms = [...graph.nodes].flatMap((n) => (viewAs(Encode, n) ?? viewAs(Decode, n))?.transform ?? []);
  const count = (part: 'perm' | 'scale' | 'shift') => transforms.filter((t) => t[part] !== null).length;
  return { gathers: count('perm'), muls: count('scale'), adds: count('shift') };
}

/** Enters what lowering did into the ledger. */
export function enterLowered(ledger: Ledger, lowered: readonly Lowered[]): void {
  for (const { name, done, left } of lowered) {
    if (done !== undefined) ledger.done('linear', name, done);
    if (left !== undefined) ledger.left('linear', name, left);
  }
}

/** Bytes of a model file and of the side files that its weights lie in. */
export function bytesOfModel(path: string, graph: Graph): number {
  const sides = new Set<string>();
  for (const c of graph.constants) if (c.constant?.origin.kind === 'file') sides.add(resolve(dirname(path), c.constant.origin.path));
  sides.add(resolve(path));
  return [...sides].reduce((n, file) => n + (statSync(file, { throwIfNoEntry: false })?.size ?? 0), 0);
}
