/** An event of ONNX Runtime's profile; microseconds. */
export interface ProfileEvent {
  readonly cat: string;
  readonly name: string;
  readonly ts: number;
  readonly dur: number;
  readonly args?: { readonly op_name?: string };
}

/** What the nodes of one operator take in one run. */
export interface OperatorTime {
  readonly operator: string;
  readonly nodes: number;
  readonly milliseconds: number;
  /** Of the time of all nodes. */
  readonly share: number;
}

/** Means over the runs in a profile but the first, which warms up; what takes longest first. */
export function operatorTimes(events: readonly ProfileEvent[]): readonly OperatorTime[] {
  const [first, ...runs] = events.filter((e) => e.cat === 'Session' && e.name === 'model_run');
  const nodes = events.filter((e) => e.cat === 'Node' && first !== undefined && e.ts >= first.ts + first.dur);
  const sums = new Map<string, { count: number; microseconds: number }>();
  for (const { args, dur } of nodes) {
    const operator = args?.op_name ?? 'unknown';
    const { count, microseconds } = sums.get(operator) ?? { count: 0, microseconds: 0 };
    sums.set(operator, { count: count + 1, microseconds: microseconds + dur });
  }
  const total = nodes.reduce((sum, e) => sum + e.dur, 0);
  return [...sums]
    .map(([operator, { count, microseconds }]) => ({
      operator,
      nodes: count / runs.length,
      milliseconds: microseconds / runs.length / 1000,
      share: microseconds / total,
    }))
    .sort((a, b) => b.milliseconds - a.milliseconds);
}
