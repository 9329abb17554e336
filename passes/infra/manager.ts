import { fail, formatDiagnostic, QcError, type Diagnostic } from '../../ir/diagnostics.ts';
import type { Graph } from '../../ir/graph.ts';
import { verify } from '../../ir/verify.ts';
import { Ledger } from './ledger.ts';
import { readOptions, suggestion } from './options.ts';
import type { Pass, PassContext, Services } from './pass.ts';
import { formatCall, formatPipeline, parsePipeline, type PassCall } from './pipeline.ts';

/** Looks at the graph after a pass that changed it. */
export interface PassCheck {
  after(graph: Graph, pass: Pick<Pass, 'name' | 'contract'>): Promise<void>;
}

export interface RunSettings {
  readonly services: Services;
  readonly signal?: AbortSignal;
  /** Compares the graph before and after every exact pass; null: no check. */
  readonly contract: PassCheck | null;
  readonly ledger?: Ledger;
  readonly beforePass?: (call: PassCall, index: number, total: number) => void;
  readonly afterPass?: (call: PassCall, graph: Graph) => void;
  readonly progress?: PassContext['progress'];
}

export interface PassReport {
  readonly call: PassCall;
  readonly counts: ReadonlyMap<string, number>;
  readonly changed: boolean;
  readonly milliseconds: number;
}

export interface RunReport {
  readonly passes: readonly PassReport[];
  readonly diagnostics: readonly Diagnostic[];
  readonly ledger: Ledger;
}

interface Step {
  readonly call: PassCall;
  readonly pass: Pass;
  readonly options: never;
}

/** A pipeline whose names, options and needs have all been checked. */
export class Plan {
  readonly #steps: readonly Step[];
  constructor(steps: readonly Step[]) {
    this.#steps = steps;
  }
  get calls(): readonly PassCall[] {
    return this.#steps.map((s) => s.call);
  }
  get text(): string {
    return formatPipeline(this.calls);
  }
  /** Runs the passes in order; after each the graph is verified and, if the pass is exact, its outputs are compared. */
  async run(graph: Graph, settings: RunSettings): Promise<RunReport> {
    const passes: PassReport[] = [];
    const diagnostics: Diagnostic[] = [];
    const ledger = settings.ledger ?? new Ledger();
    for (const [index, step] of this.#steps.entries()) {
      settings.signal?.throwIfAborted();
      settings.beforePass?.(step.call, index, this.#steps.length);
      passes.push(await runStep(step, graph, settings, ledger, diagnostics));
      settings.afterPass?.(step.call, graph);
    }
    return { passes, diagnostics, ledger };
  }
}

async function runStep(step: Step, graph: Graph, settings: RunSettings, ledger: Ledger, diagnostics: Diagnostic[]): Promise<PassReport> {
  const counts = new Map<string, number>();
  const version = graph.version;
  const start = performance.now();
  await step.pass.run(
    graph,
    {
      services: settings.services,
      ledger,
      signal: settings.signal ?? new AbortController().signal,
      report: (d) => void (diagnostics.some((old) => formatDiagnostic(old) === formatDiagnostic(d)) || diagnostics.push(d)),
      count: (statistic, by = 1) => counts.set(statistic, (counts.get(statistic) ?? 0) + by),
      progress: settings.progress ?? (() => {}),
    },
    step.options,
  );
  const changed = graph.version !== version;
  if (changed) verifyAfter(step.call, graph);
  if (changed) await settings.contract?.after(graph, step.pass);
  return { call: step.call, counts, changed, milliseconds: performance.now() - start };
}

function verifyAfter(call: PassCall, graph: Graph): void {
  try {
    verify(graph);
  } catch (error) {
    if (!(error instanceof QcError)) throw error;
    throw new QcError(error.diagnostics.map((d) => ({ ...d, notes: [...(d.notes ?? []), `after pass ${formatCall(call)}`] })));
  }
}

/** Knows the passes by name, and checks pipelines before hours of work. */
export class PassManager {
  readonly #passes: ReadonlyMap<string, Pass>;
  constructor(passes: readonly Pass[]) {
    this.#passes = new Map(passes.map((p) => [p.name, p]));
  }
  get passes(): readonly Pass[] {
    return [...this.#passes.values()];
  }
  find(name: string): Pass {
    const known = [...this.#passes.keys()];
    return (
      this.#passes.get(name) ??
      fail('QC2004', `no pass '${name}'${suggestion(name, known)}`, undefined, { hint: `known passes: ${known.join(', ')}` })
    );
  }
  /** Reads a pipeline and checks names, options and needs; `facts` hold from the start. */
  plan(pipeline: string | readonly PassCall[], facts: readonly string[] = []): Plan {
    const calls = typeof pipeline === 'string' ? parsePipeline(pipeline) : pipeline;
    const holding = new Set(facts);
    const steps = calls.map((call) => {
      const pass = this.find(call.name);
      const options = readOptions(pass.name, pass.options, call.options) as never;
      for (const need of pass.needs) if (!holding.has(need)) this.#missing(pass, need);
      for (const fact of pass.breaks) holding.delete(fact);
      for (const fact of pass.gives) holding.add(fact);
      return { call, pass, options };
    });
    return new Plan(steps);
  }
  /**
   * The calls with what they need put in front of them, and with what gives `wanted` at the end.
   * Inserted calls, and calls that leave an option open, take options from `defaults`.
   */
  complete(calls: readonly PassCall[], wanted: readonly string[], defaults: Readonly<Record<string, string>>): readonly PassCall[] {
    const holding = new Set<string>();
    const complete: PassCall[] = [];
    const add = (call: PassCall): void => {
      const pass = this.find(call.name);
      for (const need of pass.needs) if (!holding.has(need)) add({ name: this.#giver(pass, need).name, options: {} });
      for (const fact of pass.breaks) holding.delete(fact);
      for (const fact of pass.gives) holding.add(fact);
      const open = Object.entries(defaults).filter(([k]) => k in pass.options && !(k in call.options));
      complete.push({ ...call, options: { ...Object.fromEntries(open), ...call.options } });
    };
    calls.forEach(add);
    for (const fact of wanted) if (!holding.has(fact)) add({ name: this.#giver(null, fact).name, options: {} });
    return complete;
  }
  /** The last one registered: `folded` holds from the start, but it is fold-channels that restores it. */
  #giver(pass: Pass | null, fact: string): Pass {
    return (
      this.passes.findLast((p) => p.gives.includes(fact)) ??
      fail('QC2005', `nothing gives '${fact}'${pass ? `, which ${pass.name} needs` : ''}`)
    );
  }
  #missing(pass: Pass, need: string): never {
    return fail('QC2005', `'${pass.name}' needs '${need}', which nothing before it gives`, undefined, {
      hint: `put '${this.#giver(pass, need).name}' before it`,
    });
  }
}
