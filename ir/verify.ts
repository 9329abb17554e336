import { diagnostic, QcError, unknownLocation, type Diagnostic, type Location } from './diagnostics.ts';
import type { Graph, Node, Value } from './graph.ts';

/** Throws QC1401 unless the graph is well formed: defined before use, unique names, use lists and operands that agree. */
export function verify(graph: Graph): void {
  const found: Diagnostic[] = [];
  check(graph, new Set(), new Set(), (message, at = unknownLocation) => found.push(diagnostic('QC1401', message, at)));
  if (found.length > 0) throw new QcError(found.slice(0, 20));
}

type Report = (message: string, at?: Location) => void;

function check(graph: Graph, outerValues: ReadonlySet<Value>, outerNames: ReadonlySet<string>, report: Report): void {
  const seen = new Set(outerValues);
  const names = new Set(outerNames);
  const define = (value: Value, at?: Location) => {
    // Results that nobody wants have no name.
    if (value.name !== '' && names.has(value.name)) report(`two values are named %${value.name}`, at);
    names.add(value.name);
    seen.add(value);
    for (const use of value.uses)
      if (use.value !== value || use.node.graph === null)
        report(`the use list of %${value.name} has a ${use.node.op} that does not read it here`, at);
  };
  for (const value of [...graph.inputs, ...graph.constants]) define(value);
  for (const node of graph.nodes) {
    checkOperands(node, seen, report);
    for (const body of node.bodies) check(body, seen, names, report);
    for (const out of node.outputs) define(out, node.loc);
  }
  for (const out of graph.outputs) if (!seen.has(out)) report(`graph output %${out.name} is not defined`);
}

function checkOperands(node: Node, seen: ReadonlySet<Value>, report: Report): void {
  for (const use of node.operands) {
    if (!use.value) continue;
    if (!seen.has(use.value)) report(`${node.op} uses %${use.value.name} before it is defined`, node.loc);
    if (!use.value.uses.has(use)) report(`the use list of %${use.value.name} misses ${node.op}`, node.loc);
  }
}
