import { Builder } from './builder.ts';
import { fail } from './diagnostics.ts';
import type { Graph, Node } from './graph.ts';
import { viewAs, type OpClass, type OpView } from './ops/view.ts';
import type { Bindings, Pattern, Refusal } from './pattern.ts';

export interface RewriteRule {
  readonly name: string;
  readonly apply: (node: Node, graph: Graph) => 'applied' | 'no-match' | Refusal;
}

/**
 * Declares a rule. `rewrite` gets the captures, fully typed, and what makes nodes in front of the one that matched. It changes the graph, or
 * refuses because something about the idea is amiss, or gives 'no-match' where the nodes mean something else that nobody would ask about.
 */
export function rule<C>(
  name: string,
  root: Pattern<C>,
  rewrite: (captures: C, build: Builder) => void | 'no-match' | Refusal,
): RewriteRule {
  return {
    name,
    apply(node, graph) {
      const captures: Bindings = {};
      if (!root.match(node.outputs[0] ?? null, captures)) return 'no-match';
      const before = graph.version;
      const answer = rewrite(captures as C, Builder.before(node));
      if (answer) return answer;
      if (graph.version === before) fail('QC1301', `rule ${name} claimed a rewrite but changed nothing`, node.loc);
      return 'applied';
    },
  };
}

/** Declares a rule for every node of one operator, whatever its operands are. */
export const ruleFor = <V extends OpView>(
  name: string,
  cls: OpClass<V>,
  rewrite: (view: V, build: Builder) => void | 'no-match' | Refusal,
): RewriteRule => ({
  name,
  apply(node) {
    const view = viewAs(cls, node);
    return view ? (rewrite(view, Builder.before(node)) ?? 'applied') : 'no-match';
  },
});

export interface FixpointOptions {
  /** Rewrites before the rules are declared not to settle; default: 50 for each node. */
  readonly limit?: number;
  /** Gets what rules refused in the last sweep, in which none fired: no reason of a state that a rule changed later. */
  readonly onRefusal?: (rule: string, node: Node, why: Refusal) => void;
}

/** Applies `rules`, in order of priority, until none fires. Returns how often each fired. */
export function rewriteToFixpoint(graph: Graph, rules: readonly RewriteRule[], options: FixpointOptions = {}): ReadonlyMap<string, number> {
  const fired = new Map<string, number>();
  let left = options.limit ?? 1000 + 50 * graph.size;
  for (let again = true; again;) {
    again = false;
    const refused: Refused[] = [];
    for (const node of graph.nodes) {
      const name = fireOne(graph, node, rules, refused);
      if (name === null) continue;
      fired.set(name, (fired.get(name) ?? 0) + 1);
      if (--left === 0) fail('QC1302', `rules do not settle; the last was ${name}`, node.loc);
      again = true;
    }
    if (again) eraseDead(graph);
    else for (const r of refused) options.onRefusal?.(...r);
  }
  return fired;
}

type Refused = readonly [rule: string, node: Node, why: Refusal];

function fireOne(graph: Graph, node: Node, rules: readonly RewriteRule[], refused: Refused[]): string | null {
  for (const r of rules) {
    const outcome = r.apply(node, graph);
    if (outcome === 'applied') return r.name;
    if (outcome !== 'no-match') refused.push([r.name, node, outcome]);
  }
  return null;
}

/** Erases nodes and constants that no graph output depends on; returns how many. */
export function eraseDead(graph: Graph): number {
  const kept = new Set(graph.outputs);
  let erased = 0;
  for (const node of [...graph.nodes].toReversed()) {
    if (node.outputs.some((o) => o.uses.size > 0 || kept.has(o))) continue;
    graph.erase(node);
    erased++;
  }
  for (const c of [...graph.constants]) {
    if (c.uses.size > 0 || kept.has(c)) continue;
    graph.eraseConstant(c);
    erased++;
  }
  return erased;
}
