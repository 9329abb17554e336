import { basename, resolve } from 'node:path';
import { fail, type Location } from '../../ir/diagnostics.ts';
import type { Graph } from '../../ir/graph.ts';
import { carriedOfGraph, type GraphCarried } from './carried.ts';
import { externalFiles } from './external.ts';
import { placeOf, rangeReader } from './files.ts';
import { isDefaultDomain } from './import-attributes.ts';
import { allNames, graphFromProto } from './import-graph.ts';
import type { TensorSources } from './import-tensor.ts';
import type { ModelProto } from './messages.ts';
import { explained } from './not-a-model.ts';
import { decodeModel, toNumber, without } from './proto.ts';
import { readSkeleton } from './skeleton.ts';

/** The model in a file of any size; weights are read when asked for, not now. */
export function readModel(path: string): Graph {
  try {
    return graphIn(resolve(path));
  } catch (error) {
    throw explained(error, path);
  }
}

function graphIn(full: string): Graph {
  const skeleton = readSkeleton(full);
  const read = rangeReader(skeleton.stamp);
  const model = decodeModel(skeleton.bytes, { file: full, offsetInFile: (offset) => skeleton.offsetInFile(offset) });
  const payloadOf: TensorSources['payloadOf'] = (rawData) => {
    // Bytes fields are views, so the place in the skeleton tells which payload this is; content could be forged.
    const range = skeleton.payloads.get(rawData.byteOffset - skeleton.bytes.byteOffset);
    return range && rawData.buffer === skeleton.bytes.buffer ? { at: { path: full, ...range }, read } : null;
  };
  return importModel(model, basename(full), { external: externalFiles(full), payloadOf });
}

/** The model in memory; the graph's constants are views of `bytes`. With a `file`, external data is looked for beside it. */
export function readModelBytes(bytes: Uint8Array, file?: string): Graph {
  const path = file === undefined ? null : resolve(file);
  const model = decodeModel(bytes, path === null ? {} : { file: path });
  return importModel(model, path === null ? 'model.onnx' : basename(path), { external: externalFiles(path), payloadOf: () => null });
}

function importModel(model: ModelProto, file: string, sources: TensorSources): Graph {
  const at = placeOf(file);
  const proto = model.graph ?? fail('QC4101', 'the protobuf has no graph, so it is not an ONNX model', at);
  const initializersAreInputs = toNumber(model.irVersion) < 4;
  const graph = graphFromProto(proto, { file, sources, initializersAreInputs, names: allNames(proto) });
  readOpsets(model, graph, at);
  for (const { key = '', value = '' } of model.metadataProps ?? []) graph.metadata.set(key, value);
  const rest = without(model, 'graph', 'opsetImport', 'metadataProps');
  if (rest) graph.carried = { ...carriedOfGraph(graph), model: rest } satisfies GraphCarried;
  return graph;
}

function readOpsets(model: ModelProto, graph: Graph, at: Location): void {
  graph.opsets.clear();
  for (const { domain, version } of model.opsetImport ?? []) {
    const name = isDefaultDomain(domain) ? '' : domain!;
    const number = toNumber(version);
    if (!Number.isSafeInteger(number) || number < 1) fail('QC4105', `the operator set '${name}' has the version ${number}`, at);
    graph.opsets.set(name, Math.max(number, graph.opsets.get(name) ?? 0));
  }
  // Models older than operator set imports mean the first version.
  if (graph.opsets.size === 0) graph.opsets.set('', 1);
}
