import { fail, type Diagnostic } from '../../ir/diagnostics.ts';
import type { Attribute } from '../../ir/attributes.ts';
import type { Graph } from '../../ir/graph.ts';
import type { SiteTrait } from '../../ir/layout.ts';
import type { Tensor } from '../../ir/tensor.ts';
import type { Executor, Feeds, Spool } from './executor.ts';
import type { Ledger } from './ledger.ts';
import type { Options, OptionValues } from './options.ts';
import type { Reduction } from './reduction.ts';

/** Samples of data: an array, or something that reads each when it is needed. */
export interface Samples {
  readonly length: number;
  /** The sample of this number, which is below `length`. */
  at(index: number): Feeds | undefined | Promise<Feeds | undefined>;
  /** What comes behind the samples; nothing by default. */
  readonly decoding?: Decoding | null;
}

/** Tokens behind a sample that go in one at a time, as when a text is generated. */
export interface Decoding {
  /** The outputs that are caches, and the inputs that they are in the next step. */
  readonly carry: Readonly<Record<string, string>>;
  /** What goes in step by step behind the sample of this number, but for what is carried. */
  steps(index: number): readonly Feeds[];
}

/** The sample of a number that there is. */
export async function sampleAt(samples: Samples, index: number): Promise<Feeds> {
  return (await samples.at(index)) ?? fail('QC9001', `there is no sample ${index}`);
}

/** What passes may ask of the world; everything else they get from the graph. */
export interface Services {
  readonly executor: Executor;
  /** A fresh place for activations. */
  readonly spool: () => Spool;
  /** Calibration samples; null when the user gave none. */
  readonly samples: Samples | null;
  /** The input of the graph that marks padding with 0; null when it has none. */
  readonly mask: string | null;
  /** What observers remember, as their attributes, by site, saved by an earlier run; null when the user gave none. */
  readonly statistics: ReadonlyMap<string, ReadonlyMap<string, Attribute>> | null;
  /** Keeps a large tensor in a file for as long as the run lasts; gives it as one that is read when it is needed. */
  readonly store: (tensor: Tensor) => Tensor;
}

export interface PassContext {
  readonly services: Services;
  readonly ledger: Ledger;
  readonly signal: AbortSignal;
  readonly report: (diagnostic: Diagnostic) => void;
  /** Counts something worth showing and testing. */
  readonly count: (statistic: string, by?: number) => void;
  /** Says how far the pass is. */
  readonly progress: (done: number, total: number, what: string) => void;
  /** What the passes of the run want to have been seen, one of each name. */
  readonly observes: readonly Reduction<unknown>[];
  /** The passes that this one holds; null for one that holds none. */
  readonly inner: InnerPasses | null;
}

/** The passes between the parentheses of a call. */
export interface InnerPasses {
  /** Runs them on the graph of the pass that holds them. */
  onWhole(graph: Graph): Promise<void>;
  /** Runs them on a graph of its own, on samples of its own, the first of which is the probe of their contracts. */
  onPart(graph: Graph, samples: Samples): Promise<void>;
}

/** `exact`: computes the same function in real arithmetic, which the manager checks. `approximate`: may lose accuracy. */
export type Contract = 'exact' | 'approximate';

export interface PassSpec<S extends Options> {
  /** kebab-case; '+' allowed. */
  readonly name: string;
  /** One line, no full stop. */
  readonly summary: string;
  readonly contract: Contract;
  readonly options?: S;
  /** Facts that must hold before, that hold after, and that hold no longer; checked before anything runs. */
  readonly needs?: readonly string[];
  readonly gives?: readonly string[];
  readonly breaks?: readonly string[];
  /** Facts of `gives` for which a compile takes this pass rather than the first one that gives them. */
  readonly defaultFor?: readonly string[];
  /** What it reads of the statistics of sites, beside ranges; calibration sees to it in the same sweep. */
  readonly observes?: readonly Reduction<unknown>[];
  /** What it does to the channels of sites; targets choose their layout by it. */
  readonly traits?: readonly SiteTrait[];
  /** Whether it holds other passes: `each-block(...)`. */
  readonly holds?: boolean;
  readonly run: (graph: Graph, ctx: PassContext, options: OptionValues<S>) => void | Promise<void>;
}

/** A pass with its option types forgotten: what registries and pipelines hold. */
export interface Pass {
  readonly name: string;
  readonly summary: string;
  readonly contract: Contract;
  readonly options: Options;
  readonly needs: readonly string[];
  readonly gives: readonly string[];
  readonly breaks: readonly string[];
  readonly defaultFor: readonly string[];
  readonly observes: readonly Reduction<unknown>[];
  readonly traits: readonly SiteTrait[];
  readonly holds: boolean;
  readonly run: (graph: Graph, ctx: PassContext, options: never) => void | Promise<void>;
}

/** Makes a pass. Its `run` gets typed option values. */
export const definePass = <const S extends Options = Record<never, never>>(spec: PassSpec<S>): Pass => ({
  options: {},
  needs: [],
  gives: [],
  breaks: [],
  defaultFor: [],
  observes: [],
  traits: [],
  holds: false,
  ...spec,
});
