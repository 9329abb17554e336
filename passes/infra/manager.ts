import { fail, formatDiagnostic, QcError, type Diagnostic } from '../../ir/diagnostics.ts';
import type { Graph } from '../../ir/graph.ts';
import { verify } from '../../ir/verify.ts';
import { Ledger } from './ledger.ts';
import { readOptions, suggestion } from './options.ts';
import type { Feeds } from './executor.ts';
import { sampleAt, type InnerPasses, type Pass, type PassContext, type Services } from './pass.ts';
import type { Reduction } from './reduction.ts';
import { formatCall, formatPipeline, parsePipeline, type PassCall } from './pipeline.ts';

/** Looks at the graph after a pass that changed it. */
export interface PassCheck {
  after(graph: Graph, pass: Pick<Pass, 'name' | 'contract'>): Promise<void>;
  /** A check of a part of the graph, which runs on a probe of its own; what it finds counts here too. */
  on(part: Graph, probe: Feeds): Promise<PassCheck>;
  close(): Promise<void>;
}

export interface RunSettings {
  readonly services: Services;
  readonly signal?: AbortSignal;
  /** Compares the graph before and after every exact pass; null: no check. */
  readonly contract: PassCheck | null;
  readonly ledger?: Ledger;
  readonly beforePass?: (call: PassCall, index: number, total: number) => void;
  /** `index`: its place in the pipeline; null for a pass that another one holds. */
  readonly afterPass?: (call: PassCall, graph: Graph, index: number | null) => void;
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
  readonly inner: readonly Step[];
}

/** What all steps of a run share. */
interface Run {
  readonly settings: RunSettings;
  readonly ledger: Ledger;
  readonly observes: readonly Reduction<unknown>[];
  readonly diagnostics: Diagnostic[];
  /** By step: one that runs block after block has one report. */
  readonly reports: Map<Step, PassReport>;
}

/** A pipeline whose names, options and needs have all been checked. */
export class Plan {
  readonly #steps: readonly Step[];
  readonly #observes: readonly Reduction<unknown>[];
  constructor(steps: readonly Step[]) {
    this.#steps = steps;
    this.#observes = union(inOrder(steps).map((s) => s.pass));
  }
  get calls(): readonly PassCall[] {
    return this.#steps.map((s) => s.call);
  }
  get text(): string {
    return formatPipeline(this.calls);
  }
  /** Runs the passes in order; after each the graph is verified and, if the pass is exact, its outputs are compared. */
  async run(graph: Graph, settings: RunSettings): Promise<RunReport> {
    const ledger = settings.ledger ?? new Ledger();
    const run: Run = { settings, ledger, observes: this.#observes, diagnostics: [], reports: new Map() };
    for (const [index, step] of this.#steps.entries()) {
      settings.beforePass?.(step.call, index, this.#steps.length);
      await runStep(step, graph, run);
      settings.afterPass?.(step.call, graph, index);
    }
    return { passes: inOrder(this.#steps).flatMap((s) => run.reports.get(s) ?? []), diagnostics: run.diagnostics, ledger };
  }
}

const inOrder = (steps: readonly Step[]): readonly Step[] => steps.flatMap((step) => [step, ...inOrder(step.inner)]);

/** What any of the passes observes, once. */
function union(passes: readonly Pass[]): readonly Reduction<unknown>[] {
  const byName = new Map<string, Reduction<unknown>>();
  for (const { name, observes } of passes)
    for (const reduction of observes) {
      const known = byName.get(reduction.name) ?? reduction;
      if (known !== reduction)
        fail('QC2005', `${name} observes '${reduction.name}', which is another reduction of the same name elsewhere`);
      byName.set(reduction.name, reduction);
    }
  return [...byName.values()];
}

async function runStep(step: Step, graph: Graph, run: Run): Promise<void> {
  const { settings, diagnostics } = run;
  settings.signal?.throwIfAborted();
  const counts = new Map(run.reports.get(step)?.counts);
  const version = graph.version;
  const start = performance.now();
  await step.pass.run(
    graph,
    {
      services: settings.services,
      ledger: run.ledger,
      signal: settings.signal ?? new AbortController().signal,
      report: (d) => void (diagnostics.some((old) => formatDiagnostic(old) === formatDiagnostic(d)) || diagnostics.push(d)),
      count: (statistic, by = 1) => counts.set(statistic, (counts.get(statistic) ?? 0) + by),
      progress: settings.progress ?? (() => {}),
      observes: run.observes,
      inner: step.pass.holds ? innerPasses(step, run) : null,
    },
    step.options,
  );
  const changed = graph.version !== version;
  if (changed) verifyAfter(step.call, graph);
  if (changed) await settings.contract?.after(graph, step.pass);
  const before = run.reports.get(step);
  run.reports.set(step, {
    call: step.call,
    counts,
    changed: changed || (before?.changed ?? false),
    milliseconds: (before?.milliseconds ?? 0) + performance.now() - start,
  });
}

function innerPasses({ inner }: Step, run: Run): InnerPasses {
  return {
    async onWhole(graph) {
      for (const step of inner) {
        await runStep(step, graph, run);
        run.settings.afterPass?.(step.call, graph, null);
      }
    },
    async onPart(graph, samples) {
      const { services, contract } = run.settings;
      const check = contract && (await contract.on(graph, await sampleAt(samples, 0)));
      const settings = { ...run.settings, services: { ...services, samples }, contract: check };
      try {
        for (const step of inner) await runStep(step, graph, { ...run, settings });
      } finally {
        await check?.close();
      }
    },
  };
}

function verifyAfter(call: PassCall, graph: Graph): void {
  try {
    verify(graph);
  } catch (error) {
    if (!(error instanceof QcError)) throw error;
    throw new QcError(error.diagnostics.map((d) => ({ ...d, notes: [...(d.notes ?? []), `after pass ${formatCall(call)}`] })));
  }
}

/** What a pass does to the facts that hold. */
function change(holding: Set<string>, pass: Pass): void {
  for (const fact of pass.breaks) holding.delete(fact);
  for (const fact of pass.gives) holding.add(fact);
}

function checkInner(pass: Pass, { inner }: PassCall): void {
  if (pass.holds && !inner) fail('QC2001', `${pass.name} needs passes in parentheses: ${pass.name}(calibrate,rptq,quantize)`);
  if (!pass.holds && inner) fail('QC2001', `${pass.name} holds no passes, so it takes no parentheses`);
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
    const holding = new Set(facts);
    const stepOf = (call: PassCall): Step => {
      const pass = this.find(call.name);
      checkInner(pass, call);
      const options = readOptions(pass.name, pass.options, call.options) as never;
      for (const need of pass.needs) if (!holding.has(need)) this.#missing(pass, need);
      const inner = (call.inner ?? []).map(stepOf);
      change(holding, pass);
      return { call, pass, options, inner };
    };
    return new Plan((typeof pipeline === 'string' ? parsePipeline(pipeline) : pipeline).map(stepOf));
  }
  /**
   * The calls with what they need put in front of them, and with what gives `wanted` at the end.
   * Inserted calls, and calls that leave an option open, take options from `defaults`.
   */
  complete(calls: readonly PassCall[], wanted: readonly string[], defaults: Readonly<Record<string, string>>): readonly PassCall[] {
    const holding = new Set<string>();
    const completed = (some: readonly PassCall[], wished: readonly string[]): readonly PassCall[] => {
      const complete: PassCall[] = [];
      const add = (call: PassCall): void => {
        const pass = this.find(call.name);
        for (const need of pass.needs) if (!holding.has(need)) add({ name: this.#giver(pass, need).name, options: {} });
        const inner = call.inner && completed(call.inner, []);
        change(holding, pass);
        const open = Object.entries(defaults).filter(([k]) => k in pass.options && !(k in call.options));
        complete.push({ ...call, options: { ...Object.fromEntries(open), ...call.options }, ...(inner ? { inner } : {}) });
      };
      some.forEach(add);
      for (const fact of wished) if (!holding.has(fact)) add({ name: this.#giver(null, fact).name, options: {} });
      return complete;
    };
    return completed(calls, wanted);
  }
  /** The pass that a pipeline gets where it lacks a fact: the first that is marked as the default, or else the first that gives it. */
  #giver(pass: Pass | null, fact: string): Pass {
    const givers = this.passes.filter((p) => p.gives.includes(fact));
    return (
      givers.find((p) => p.defaultFor.includes(fact)) ??
      givers[0] ??
      fail('QC2005', `nothing gives '${fact}'${pass ? `, which ${pass.name} needs` : ''}`)
    );
  }
  #missing(pass: Pass, need: string): never {
    return fail('QC2005', `'${pass.name}' needs '${need}', which nothing before it gives`, undefined, {
      hint: `put '${this.#giver(pass, need).name}' before it`,
    });
  }
}
