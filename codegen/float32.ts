import { int, type Attribute } from '../ir/attributes.ts';
import { Builder } from '../ir/builder.ts';
import { exchange } from '../ir/constants.ts';
import type { Graph, Node, Value } from '../ir/graph.ts';
import { viewAs } from '../ir/ops/view.ts';
import { Cast, Gather } from '../ir/ops/generated.ts';
import { widened, type Tensor } from '../ir/tensor.ts';
import { eachGraph } from '../ir/walk.ts';
import { dtypes, sizeOf, tensorType, type DType, type TensorType } from '../ir/types.ts';

/** The types of a graph's inputs and outputs, by name. */
export type Interface = ReadonlyMap<string, TensorType>;

const isHalf = (dtype: DType | undefined): boolean => dtype === 'f16' || dtype === 'bf16';
const numberOf = (dtype: DType): number => dtypes.indexOf(dtype) + 1;
const f32 = numberOf('f32');

/** Attributes that name the element type of a result. */
const naming = ['to', 'dtype', 'output_datatype'];

/**
 * Has a model of f16 or bf16 compute in f32, so that passes measure and compare without its rounding; ONNX Runtime does the same on a
 * CPU. Constants keep their halves as a source (`Tensor.source`). Gives the types of inputs and outputs that changed, for `restoreTypes`.
 */
export function toFloat32(graph: Graph): Interface {
  const ports = [...graph.inputs, ...graph.outputs];
  const changed = new Map(ports.flatMap((v) => (isHalf(v.type?.dtype) ? [[v.name, v.type!] as const] : [])));
  for (const each of eachGraph(graph)) widenGraph(each);
  return changed;
}

function widenGraph(graph: Graph): void {
  for (const v of graph.inputs) widenType(graph, v);
  for (const v of [...graph.constants]) if (isHalf(v.constant!.dtype)) replaceTensor(graph, v, widened(v.constant!));
  for (const node of graph.nodes) {
    for (const v of node.outputs) widenType(graph, v);
    const attributes = Object.fromEntries([...node.attributes].map(([name, a]) => [name, widenAttribute(name, a)] as const));
    if ([...node.attributes].some(([name, a]) => attributes[name] !== a)) graph.setAttributes(node, attributes);
  }
}

function widenType(graph: Graph, v: Value): void {
  if (isHalf(v.type?.dtype)) graph.setType(v, tensorType('f32', v.type!.shape));
}

function widenAttribute(name: string, a: Attribute): Attribute {
  if (a.kind === 'tensor' && isHalf(a.value.dtype)) return { kind: 'tensor', value: widened(a.value) };
  const names = a.kind === 'int' && naming.includes(name) && isHalf(dtypes[Number(a.value) - 1]);
  return names ? int(f32) : a;
}

/** Another tensor under the same name, with what the importer keeps. */
function replaceTensor(graph: Graph, v: Value, tensor: Tensor): Value {
  const made = exchange(graph, v, tensor);
  made.carried = v.carried;
  return made;
}

/** Gives inputs and outputs the types that they had, through Casts. */
export function restoreTypes(graph: Graph, types: Interface): void {
  for (const v of graph.inputs) {
    const type = types.get(v.name);
    if (!type || v.type?.dtype === type.dtype) continue;
    const cast = castTo(Builder.behind(graph, v), v, v.type!.dtype, `${v.name}.${v.type!.dtype}`);
    graph.setType(v, type);
    // Not `replaceUses`: an input that the graph gives out as it is has its type again already.
    for (const use of [...v.uses]) if (use.node !== cast.producer) use.node.graph!.setInput(use.node, use.index, cast);
  }
  for (const v of [...graph.outputs]) {
    const type = types.get(v.name);
    if (!type || v.type?.dtype === type.dtype) continue;
    const source = viewAs(Cast, v.producer)?.input;
    const suited = source?.type?.dtype === type.dtype ? source : null;
    graph.replaceOutput(v, suited ?? castTo(Builder.atEnd(graph), v, type.dtype, v.name, type.shape));
  }
}

const castTo = (build: Builder, v: Value, dtype: DType, name: string, shape = v.type?.shape ?? null): Value =>
  build.value(Cast.schema.op, [v], { to: int(numberOf(dtype)) }, tensorType(dtype, shape), name);

/** Constants smaller than this are stored as they are. */
const smallest = 1024;

/** Stores what came from halves as halves again, with a Cast behind: runtimes compute it once, when they load the model. */
export function storeHalves(graph: Graph): void {
  for (const v of [...graph.constants]) {
    const source = v.constant!.source;
    if (!source || sizeOf(source.shape) < smallest || v.uses.size === 0) continue;
    const made = replaceTensor(graph, v, source);
    const reads = [...made.uses];
    // Rows are taken first, so that a runtime does not hold the whole table in f32.
    const tables = reads.filter((u) => u.index === 0 && u.node.op === Gather.schema.op && u.node.graph === graph);
    for (const { node } of tables) castResult(graph, node, source.dtype);
    const others = reads.filter((u) => !tables.includes(u));
    if (others.length === 0) continue;
    const cast = castTo(Builder.behind(graph, made), made, 'f32', `${made.name}.f32`);
    for (const use of others) use.node.graph!.setInput(use.node, use.index, cast);
  }
}

function castResult(graph: Graph, node: Node, dtype: DType): void {
  const { output } = node;
  graph.setType(output, tensorType(dtype, output.type?.shape ?? null));
  const cast = castTo(Builder.behind(graph, output), output, 'f32', output.name);
  graph.replaceUses(output, cast, cast.producer!);
}
