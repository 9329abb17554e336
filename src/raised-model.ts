import { fail, sites, type Graph } from '../ir/index.ts';
import { PassManager, passes, type Ledger, type Services } from '../passes/index.ts';
import { openModel } from './model.ts';

/** Opens a model and raises it in memory, which only reads constants that are numbers, shapes or axes. Its sites are marked as w8a8 does. */
export async function raisedModel(path: string): Promise<{ readonly graph: Graph; readonly ledger: Ledger }> {
  const graph = openModel(path);
  const pipeline = sites(graph).length > 0 ? 'raise' : 'raise,open-caches,mark-sites';
  const { ledger } = await new PassManager(passes).plan(pipeline).run(graph, { services: noServices, contract: null });
  return { graph, ledger };
}

/** Raising computes nothing. */
const noServices: Services = {
  executor: { load: () => fail('QC9001', 'raising runs nothing') },
  spool: () => fail('QC9001', 'raising runs nothing'),
  store: () => fail('QC9001', 'raising runs nothing'),
  samples: null,
  mask: null,
  statistics: null,
};
