import type { Node } from '../../ir/graph.ts';
import type { Refusal } from '../../ir/pattern.ts';

/** The name that the ledger gives to a node. */
export const nameOf = (node: Node): string => (node.name === '' ? (node.outputs[0]?.name ?? node.op) : node.name);

/** A node by operator and name, for messages. */
export const describe = (node: Node): string => (node.name === '' ? `${node.op} %${node.output.name}` : `${node.op} ${node.name}`);

/** What a ledger entry is about. */
export type Candidate = 'linear' | 'norm' | 'attention' | 'cache';

/** What became of one candidate: never empty at the end of a compile. */
export interface LedgerEntry {
  readonly kind: Candidate;
  readonly name: string;
  /** What was done to it, in order. */
  readonly done: readonly string[];
  /** Why it, or a part of it, was left alone. */
  readonly left: readonly string[];
}

/** What a pass recognised and left as it was, with the reason. */
export interface Refused {
  /** The name of the node, as the ledger gives it. */
  readonly node: string;
  readonly op: string;
  /** Of the rewrite rule, or of the pass. */
  readonly rule: string;
  readonly why: string;
  /** The name of the value to blame; null where it is the node itself. */
  readonly value: string | null;
  /** What the node is, or a part of it, where only the rule can say. */
  readonly about?: Candidate;
}

/** What a rule refused at a node, for `Ledger.refuse`. */
export const refusedAt = (node: Node, rule: string, { refused, value }: Refusal): Refused => ({
  node: nameOf(node),
  op: node.op,
  rule,
  why: refused,
  value: value?.name ?? null,
});

export const refusalText = ({ why, value }: Refused): string => (value === null ? why : `${why}, at %${value}`);

/** Why a candidate stayed as it was when nothing was to be done to it. */
const notCovered = 'nothing to do: the scheme and the passes do not cover it';

const keyOf = (kind: Candidate, name: string): string => `${kind} ${name}`;

/** Every candidate of a model by name, with what passes and lowering did to it. */
export class Ledger {
  /** By kind and name: an operator of ONNX Runtime may be several. */
  readonly #entries = new Map<string, LedgerEntry>();
  readonly #intended = new Set<string>();
  readonly #refused = new Map<string, readonly Refused[]>();
  get entries(): readonly LedgerEntry[] {
    return [...this.#entries.values()];
  }
  /** Enters a candidate that something may be done to. */
  enter(kind: Candidate, name: string): void {
    const key = keyOf(kind, name);
    if (!this.#entries.has(key)) this.#entries.set(key, { kind, name, done: [], left: [] });
  }
  done(kind: Candidate, name: string, what: string): void {
    this.#change(kind, name, (e) => (e.done.includes(what) ? e : { ...e, done: [...e.done, what] }));
  }
  /** Enters why a candidate, or a part of it, was left alone; `intended` where the compile was meant to leave it. */
  left(kind: Candidate, name: string, why: string, { intended = false }: { readonly intended?: boolean } = {}): void {
    if (intended) this.#intended.add(why);
    this.#change(kind, name, (e) => (e.left.includes(why) ? e : { ...e, left: [...e.left, why] }));
  }
  /** Enters what a pass refused, in place of what an earlier run of it refused: a later rewrite may have done away with the reason. */
  refuse(pass: string, refused: readonly Refused[]): void {
    this.#refused.set(pass, refused);
  }
  get refused(): readonly Refused[] {
    return [...this.#refused.values()].flat();
  }
  /** The last word on a node; null where nothing was refused there. */
  refusalAt(node: string): Refused | null {
    return this.refused.findLast((r) => r.node === node) ?? null;
  }
  /** Gives a reason to the entries that have none, so that none is empty. */
  settle(): void {
    for (const e of this.entries) if (e.done.length === 0 && e.left.length === 0) this.left(e.kind, e.name, notCovered, { intended: true });
  }
  /** Whether the compile was meant to leave a candidate for this reason, so that `--strict` lets it pass. */
  isIntended(why: string): boolean {
    return this.#intended.has(why);
  }
  #change(kind: Candidate, name: string, f: (e: LedgerEntry) => LedgerEntry): void {
    this.enter(kind, name);
    const key = keyOf(kind, name);
    this.#entries.set(key, f(this.#entries.get(key)!));
  }
}
