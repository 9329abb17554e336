import { diagnostic, fail, QcError, type Diagnostic } from '../../ir/diagnostics.ts';
import type { Graph } from '../../ir/graph.ts';
import type { SiteTrait, TargetLayout } from '../../ir/layout.ts';
import { CacheBasis } from '../../ir/ops/qc.ts';
import { eraseDead } from '../../ir/rewrite.ts';
import type { Scheme } from '../../ir/scheme.ts';
import { toHalf } from './half/half.ts';
import { forEachOf } from './nodes.ts';
import { lowerCacheBasis } from './standard/cache-basis.ts';
import { takesPrimitives } from './standard/primitives.ts';
import { lowerRest } from './rest.ts';
import { lowerRmsNormalizations } from './standard/rms-normalization.ts';
import { lowerRotaryEmbeddings } from './standard/rotary-embedding.ts';
import type { PlainWeights } from './standard/weight.ts';
import { leftTransforms, type LeftTransform } from './transforms.ts';

/** What lowering did to a node, for the ledger. */
export interface Lowered {
  readonly kind: 'linear' | 'norm' | 'attention';
  readonly name: string;
  /** What it became, or why it did not become what the target is for. */
  readonly done?: string;
  readonly left?: string;
}

/** A kind of runtime: what it can do, and how sites become its operators. */
export interface Target {
  readonly name: string;
  readonly summary: string;
  /** Operators outside the default domain that the runtime has. */
  readonly operators: ReadonlySet<string>;
  /** In which type it computes what is not quantized. */
  readonly floats: 'f32' | 'f16';
  /** How it stores quantized weights that no operator of its own takes. */
  readonly weights: PlainWeights;
  /** How scales must lie for its operators, given what the passes of the compile do to sites. */
  readonly layout: (scheme: Scheme, traits: ReadonlySet<SiteTrait>) => TargetLayout;
  /**
   * Takes out quantizers of activations that the runtime has no operator for and is better off without. The graph after this is what the
   * lowered one must compute.
   */
  readonly decline?: (graph: Graph) => readonly Lowered[];
  /** Turns what the runtime has operators of its own for into those; standard operators take the rest. */
  readonly lower: (graph: Graph) => readonly Lowered[];
}

export interface Lowering {
  readonly report: readonly Lowered[];
  /** Channel transforms that became explicit operators. */
  readonly left: readonly LeftTransform[];
  readonly diagnostics: readonly Diagnostic[];
}

/** What `target` declines of a quantized graph is taken out of it; the first part of lowering. */
export const declineFor = (target: Target, graph: Graph): readonly Lowered[] => target.decline?.(graph) ?? [];

/** Lowers `graph` to `target` and checks that nothing is left that the target lacks (QC4001). */
export function lowerTo(target: Target, graph: Graph): Lowering {
  const outputs = graph.outputs.map((v) => v.type);
  forEachOf(graph, [CacheBasis.schema.op], (node) => lowerCacheBasis(graph, node));
  const report = [...declineFor(target, graph), ...target.lower(graph)];
  const left = leftTransforms(graph);
  lowerRest(graph, target.weights);
  // What is dead needs no opset.
  eraseDead(graph);
  const primitives = takesPrimitives(graph);
  if (primitives) lowerRotaryEmbeddings(graph);
  eraseDead(graph);
  const diagnostics = target.floats === 'f16' ? toHalf(graph, outputs) : [];
  // Not before: a norm reads and gives f16, its primitives would each be cast by themselves.
  if (primitives) lowerRmsNormalizations(graph);
  const illegal = [...graph.nodes].filter((n) => n.op.startsWith('qc.') && !target.operators.has(n.op));
  if (illegal.length > 0) throw new QcError(illegal.map((n) => diagnostic('QC4001', `${target.name} has no ${n.op}`, n.loc)));
  return { report, left, diagnostics };
}

/** The target of this name; QC2006 lists them. */
export function targetNamed(targets: readonly Target[], name: string): Target {
  const found = targets.find((t) => t.name === name);
  return found ?? fail('QC2006', `no target '${name}'`, undefined, { hint: `targets: ${targets.map((t) => t.name).join(', ')}` });
}
