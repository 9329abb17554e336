import { statSync } from 'node:fs';
import { basename, parse, relative, resolve, sep } from 'node:path';
import type { Graph } from '../../ir/graph.ts';
import { fail } from '../../ir/diagnostics.ts';
import { inFile, type FileRange, type Tensor } from '../../ir/tensor.ts';
import { bitsOf } from '../../ir/types.ts';
import { eachGraph, eachNode } from '../../ir/walk.ts';
import { carriedOfGraph, carriedOfValue } from './carried.ts';
import { graphPieces, spellingOf, type Placement } from './export-graph.ts';
import { dataLength, type ExternalPlace } from './export-tensor.ts';
import { bodyOpset, functionsFor, hasBody, qcDomain } from './functions.ts';
import type { FunctionProto, ModelProto } from './proto-types.ts';
import { field, joined, lengthOf, type Piece } from './pieces.ts';
import { encodeMessage, int64, toNumber } from './proto.ts';
import { smallPayload } from './skeleton.ts';
import { dataTypeOf } from './type-protos.ts';
import { rangeReader, stampOf } from './files.ts';
import { stageFiles, writeTemporaryFiles, type PlannedFile, type WrittenFile } from './write-files.ts';

export interface WriteOptions {
  /** Whether weights go to a side file; `auto` does so beyond 1 GiB. */
  readonly externalData?: 'auto' | 'always' | 'never';
}

export interface WriteResult {
  readonly files: readonly WrittenFile[];
}

/** A model that lies beside its place until it is moved there. */
export interface StagedModel {
  /** Every constant that was written as data, and the same in the staged files. */
  readonly tensors: ReadonlyMap<Tensor, Tensor>;
  commit(): WriteResult;
  discard(): void;
}

/** Saves a graph as an ONNX model, weights streamed one at a time; a failure leaves no file behind and no old one changed. */
export const writeModel = (graph: Graph, path: string, options: WriteOptions = {}): WriteResult =>
  stageModel(graph, path, options).commit();

/** As `writeModel`, up to the point where the files are moved to their places, so that what will be there can be looked at before. */
export function stageModel(graph: Graph, path: string, options: WriteOptions = {}): StagedModel {
  refuseOddTypes(graph);
  const weights = new Set(allConstants(graph));
  const total = [...weights].reduce((n, t) => n + dataLength(t), 0);
  const external = options.externalData === 'always' || (options.externalData !== 'never' && total > largestInline);
  const layout = external ? layOut(weights, `${basename(path)}.data`) : new Map<Tensor, ExternalPlace>();
  const files: PlannedFile[] = [{ path, pieces: checkedModel(graph, (tensor) => layout.get(tensor) ?? null) }];
  if (layout.size > 0) files.push({ path: `${path}.data`, pieces: sidePieces(layout) });
  const staged = stageFiles(files);
  return {
    tensors: new Map(files.flatMap((f) => tensorsIn(staged.at(f.path), f.pieces))),
    commit: () => ({ files: staged.commit() }),
    discard: staged.discard,
  };
}

/** The constants that were written to a file as ranges of it. */
function tensorsIn(path: string, pieces: readonly Piece[]): readonly (readonly [Tensor, Tensor])[] {
  const read = rangeReader(stampOf(statSync(path)));
  let offset = 0;
  return pieces.flatMap((piece) => {
    const at = { path: resolve(path), offset, length: piece.length };
    offset += piece.length;
    return piece instanceof Uint8Array ? [] : [[piece.tensor, inFile(piece.tensor.dtype, piece.tensor.shape, at, read)] as const];
  });
}

/**
 * Saves a graph for a run by a runtime that looks for side files from the root of the file system on. Constants that lie in a file stay there, so that
 * only what was computed or is in memory is written, beside the model.
 */
export function writeForRuntime(graph: Graph, path: string): void {
  refuseOddTypes(graph);
  const { root } = parse(resolve(path));
  const fromRoot = (file: string): string => relative(root, resolve(file)).split(sep).join('/');
  const places = new Map<Tensor, ExternalPlace>();
  const moving = new Set<Tensor>();
  for (const tensor of new Set(allConstants(graph))) {
    const { origin } = tensor;
    if (origin.kind === 'file' && isMappable(tensor, origin) && parse(resolve(origin.path)).root === root)
      places.set(tensor, { location: fromRoot(origin.path), offset: origin.offset, length: origin.length });
    else moving.add(tensor);
  }
  const side = layOut(moving, fromRoot(`${path}.data`));
  const files: PlannedFile[] = [{ path, pieces: checkedModel(graph, (tensor) => places.get(tensor) ?? side.get(tensor) ?? null) }];
  if (side.size > 0) files.push({ path: `${path}.data`, pieces: sidePieces(side) });
  writeTemporaryFiles(files);
}

/** Small constants are read by shape inference, and a runtime maps only elements that lie at multiples of their size. */
const isMappable = ({ dtype }: Tensor, { offset, length }: FileRange): boolean =>
  dtype !== 'string' && length >= smallPayload && offset % Math.ceil(bitsOf(dtype) / 8) === 0;

/** The bytes of a model with its weights inside; for graphs that fit into memory. */
export function encodeGraph(graph: Graph): Uint8Array {
  refuseOddTypes(graph);
  return joined(checkedModel(graph, () => null));
}

const largestInline = 2 ** 30;
const alignment = 4096;

function checkedModel(graph: Graph, place: Placement): Piece[] {
  const pieces = modelPieces(graph, place);
  const size = lengthOf(pieces);
  if (size >= 2 ** 31) fail('QC4107', `the model takes ${size} bytes`, undefined, { hint: 'write it with external data' });
  return pieces;
}

function modelPieces(graph: Graph, place: Placement): Piece[] {
  const carried: Partial<ModelProto> = carriedOfGraph(graph).model ?? { producerName: 'qc' };
  const domains = usedDomains(graph);
  const own = functionsFor(graph);
  const functions = [...own.functions, ...keptFunctions(carried.functions ?? [], graph)];
  const ours = functions.some((f) => f.domain === qcDomain);
  const opsets = importedOpsets(graph, domains, ours);
  const { functions: _, ...rest } = carried;
  const head: ModelProto = {
    ...rest,
    irVersion: int64(irVersionOf(graph, toNumber(carried.irVersion), ours, opsets.get('') ?? 0)),
    opsetImport: [...opsets].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([domain, version]) => ({ domain, version: int64(version) })),
    ...(graph.metadata.size > 0 ? { metadataProps: [...graph.metadata].map(([key, value]) => ({ key, value })) } : {}),
    functions,
  };
  return [encodeMessage('ModelProto', head), ...field(7, graphPieces(graph, { place, nameOf: own.nameOf }))];
}

/** Bodies of our own are made anew; one that we cannot make stays as long as it is called. */
function keptFunctions(functions: readonly FunctionProto[], graph: Graph): FunctionProto[] {
  const called = new Set([...eachNode(graph)].map((n) => n.op));
  return functions.filter((f) => f.domain !== qcDomain || (!hasBody(f.name ?? '') && called.has(`${qcDomain}.${f.name}`)));
}

function importedOpsets(graph: Graph, used: ReadonlySet<string>, bodies: boolean): Map<string, number> {
  const opsets = new Map([...graph.opsets].filter(([domain]) => domain !== qcDomain || used.has(domain)));
  for (const domain of used) if (!opsets.has(domain)) opsets.set(domain, domain === '' ? bodyOpset : 1);
  if (bodies && !opsets.has('')) opsets.set('', bodyOpset);
  return opsets;
}

/** At least what the model's contents need, at most what shipping runtimes load. */
function irVersionOf(graph: Graph, carried: number, bodies: boolean, opset: number): number {
  const floor = Math.max(carried || 10, bodies || opset >= 21 ? 10 : oldest);
  return Math.min(
    newest,
    tensorsOf(graph).reduce((version, t) => Math.max(version, firstIrVersion(dataTypeOf(t.dtype) ?? 0)), floor),
  );
}

// Before version 4 every constant must also be an input, which we do not write.
const oldest = 4;
const newest = 13;

/** The IR version that brought an element type. */
function firstIrVersion(dataType: number): number {
  if (dataType >= 25) return 13;
  if (dataType === 24) return 12;
  if (dataType === 23) return 11;
  return dataType >= 21 ? 10 : dataType >= 17 ? 9 : oldest;
}

function usedDomains(graph: Graph): Set<string> {
  const domains = new Set<string>();
  for (const node of eachNode(graph)) domains.add(spellingOf(node).domain);
  return domains;
}

/** The constants that become initializers, with those of inner graphs. */
const allConstants = (graph: Graph): readonly Tensor[] =>
  [...eachGraph(graph)]
    .flatMap((g) => [...g.inputs, ...g.constants])
    .flatMap((value) => value.constant ?? carriedOfValue(value).initial ?? []);

function tensorsOf(graph: Graph): Tensor[] {
  const attributes = [...eachNode(graph)].flatMap((node) => [...node.attributes.values()]);
  return [...allConstants(graph), ...attributes.flatMap((a) => (a.kind === 'tensor' ? [a.value] : []))];
}

function refuseOddTypes(graph: Graph): void {
  for (const tensor of tensorsOf(graph))
    if (dataTypeOf(tensor.dtype) === null)
      fail('QC4001', `a constant has the element type ${tensor.dtype}, which no version of ONNX has; lower it to packed bytes first`);
}

function layOut(tensors: ReadonlySet<Tensor>, location: string): Map<Tensor, ExternalPlace> {
  const places = new Map<Tensor, ExternalPlace>();
  let end = 0;
  for (const tensor of tensors) {
    const length = dataLength(tensor);
    if (tensor.dtype === 'string' || length < smallPayload) continue;
    const offset = Math.ceil(end / alignment) * alignment;
    places.set(tensor, { location, offset, length });
    end = offset + length;
  }
  return places;
}

function sidePieces(layout: ReadonlyMap<Tensor, ExternalPlace>): Piece[] {
  const pieces: Piece[] = [];
  let end = 0;
  for (const [tensor, { offset, length }] of layout) {
    if (offset > end) pieces.push(new Uint8Array(offset - end));
    pieces.push({ tensor, length });
    end = offset + length;
  }
  return pieces;
}
