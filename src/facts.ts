import { Observer, sites, viewAs, type Graph } from '../ir/index.ts';
import { statisticsOf } from '../passes/index.ts';

/** The facts of pipelines that show on a graph. `raised`: whether its nodes are known to be in the words of the IR. */
export function factsOf(graph: Graph, raised = false): readonly string[] {
  const observers = [...graph.nodes].flatMap((n) => viewAs(Observer, n) ?? []);
  const marked = sites(graph).length > 0;
  return [
    ...(raised || marked ? ['raised', 'folded'] : []),
    ...(marked ? ['sites'] : []),
    ...(marked && observers.length > 0 ? ['observed'] : []),
    ...(marked && observers.some((o) => statisticsOf(o.node.attributes) !== null) ? ['calibrated'] : []),
  ];
}
