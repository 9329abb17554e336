import { basename, resolve } from 'node:path';
import { exchange } from '../../ir/constants.ts';
import { fail, type Location } from '../../ir/diagnostics.ts';
import type { Graph } from '../../ir/graph.ts';
import { carriedOfGraph, carriedOfValue, carry, type GraphCarried } from './carried.ts';
import { externalFiles } from './external.ts';
import { placeOf, rangeReader } from './files.ts';
import { qcDomain } from './functions.ts';
import { isDefaultDomain } from './import-attributes.ts';
import { allNames, graphFromProto } from './import-graph.ts';
import { inlineFunctions } from './inline.ts';
import type { TensorSources } from './import-tensor.ts';
import type { ModelProto } from './proto-types.ts';
import { explained } from './not-a-model.ts';
import { decodeModel, toNumber, without } from './proto.ts';
import { readSkeleton } from './skeleton.ts';

export interface ReadOptions {
  /**
   * `compile`: what passes want to see. Local functions stand in the place of their calls, and inputs that have a default are constants.
   * `keep`, the default: as the model has it, so that it can be written back.
   */
  readonly purpose?: 'keep' | 'compile';
}

/** The model in a file of any size; weights are read when they are needed, not now. */
export function readModel(path: string, options: ReadOptions = {}): Graph {
  try {
    return graphIn(resolve(path), options);
  } catch (error) {
    throw explained(error, path);
  }
}

function graphIn(full: string, options: ReadOptions): Graph {
  const skeleton = readSkeleton(full);
  const read = rangeReader(skeleton.stamp);
  const model = decodeModel(skeleton.bytes, { file: full, offsetInFile: (offset) => skeleton.offsetInFile(offset) });
  const payloadOf: TensorSources['payloadOf'] = (rawData) => {
    // Bytes fields are views, so the place in the skeleton tells which payload this is; content could be forged.
    const range = skeleton.payloads.get(rawData.byteOffset - skeleton.bytes.byteOffset);
    return range && rawData.buffer === skeleton.bytes.buffer ? { at: { path: full, ...range }, read } : null;
  };
  return importModel(model, basename(full), { external: externalFiles(full), payloadOf }, options);
}

/** The model in memory; the graph's constants are views of `bytes`. With a `file`, external data is looked for beside it. */
export function readModelBytes(bytes: Uint8Array, file?: string, options: ReadOptions = {}): Graph {
  const path = file === undefined ? null : resolve(file);
  const model = decodeModel(bytes, path === null ? {} : { file: path });
  const name = path === null ? 'model.onnx' : basename(path);
  return importModel(model, name, { external: externalFiles(path), payloadOf: () => null }, options);
}

/** Functions of ours stay calls: the IR has words for them. */
const ownDomains: ReadonlySet<string> = new Set([qcDomain]);

function importModel(whole: ModelProto, file: string, sources: TensorSources, { purpose = 'keep' }: ReadOptions): Graph {
  const at = placeOf(file);
  const { model, opsets } = purpose === 'keep' ? { model: whole, opsets: new Map() } : inlineFunctions(whole, file, ownDomains);
  const proto = model.graph ?? fail('QC4101', 'the protobuf has no graph, so it is not an ONNX model', at);
  const initializersAreInputs = toNumber(model.irVersion) < 4;
  const graph = graphFromProto(proto, { file, sources, initializersAreInputs, names: allNames(proto), opsets });
  readOpsets(model, graph, at);
  for (const { key = '', value = '' } of model.metadataProps ?? []) graph.metadata.set(key, value);
  const rest = without(model, 'graph', 'opsetImport', 'metadataProps');
  if (rest) graph.carried = { ...carriedOfGraph(graph), model: rest } satisfies GraphCarried;
  if (purpose === 'compile') freezeDefaults(graph);
  return graph;
}

/** Inputs that have a default become constants: exporters that keep initializers among the inputs do not mean them to be fed. */
function freezeDefaults(graph: Graph): void {
  for (const input of [...graph.inputs]) {
    const { initial, initializer } = carriedOfValue(input);
    if (!initial) continue;
    const constant = exchange(graph, input, initial);
    if (initializer) carry(constant, { initializer });
  }
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
