import { graphsOf, type Attribute, type Attributes } from './attributes.ts';
import { fail, unknownLocation, type Location } from './diagnostics.ts';
import type { Tensor } from './tensor.ts';
import type { TensorType } from './types.ts';

/** One operand slot. The object lives as long as its node; only `value` changes, and only the graph changes it. */
export interface Use {
  readonly node: Node;
  readonly index: number;
  readonly value: Value | null;
}

export type Definition =
  | { readonly kind: 'input' }
  | { readonly kind: 'constant'; readonly tensor: Tensor }
  | { readonly kind: 'result'; readonly node: Node; readonly index: number };

/** An SSA value. Identity matters: values are compared with `===`. */
export class Value {
  /** In the order in which they were made, so that every walk is deterministic. */
  readonly uses: ReadonlySet<Use> = new Set();
  readonly def: Definition;
  readonly name: string;
  /** Null when nothing is known yet, or when the value is not a tensor. */
  readonly type: TensorType | null;
  /** What an importer must not lose and the IR has no words for; only the exporter reads it. */
  carried: unknown = null;
  constructor(name: string, type: TensorType | null, def: Definition) {
    this.name = name;
    this.type = type;
    this.def = def;
  }
  get producer(): Node | null {
    return this.def.kind === 'result' ? this.def.node : null;
  }
  get constant(): Tensor | null {
    return this.def.kind === 'constant' ? this.def.tensor : null;
  }
  get soleUse(): Use | null {
    return this.uses.size === 1 ? this.uses.values().next().value! : null;
  }
}

export interface ResultInit {
  readonly name: string;
  readonly type: TensorType | null;
}

export interface NodeInit {
  /** `MatMul`, `com.microsoft.MatMulNBits`, `qc.Site`: the domain, a dot, the operator; no dot in the default domain. */
  readonly op: string;
  readonly inputs: readonly (Value | null)[];
  readonly results: readonly ResultInit[];
  readonly attributes?: Attributes;
  readonly name?: string;
  readonly loc?: Location;
}

/** An operator with its operands. Generic: typed views (`ir/ops`) read it. */
export class Node {
  readonly op: string;
  readonly name: string;
  readonly operands: readonly Use[];
  readonly outputs: readonly Value[];
  readonly attributes: ReadonlyMap<string, Attribute>;
  readonly loc: Location;
  /** As for values. */
  carried: unknown = null;
  /** The graph that holds this node; null before it is inserted and after it is erased. */
  graph: Graph | null = null;
  /** Links of the graph's list. They survive erasure, so that a walk standing here can go on. */
  previous: Node | null = null;
  next: Node | null = null;
  constructor(init: NodeInit) {
    this.op = init.op;
    this.name = init.name ?? '';
    this.loc = init.loc ?? unknownLocation;
    this.attributes = new Map(Object.entries(init.attributes ?? {}));
    this.outputs = init.results.map((r, index) => new Value(r.name, r.type, { kind: 'result', node: this, index }));
    this.operands = init.inputs.map((value, index) => ({ node: this, index, value }));
    for (const use of this.operands) if (use.value) link(use.value, use);
    for (const body of this.bodies) body.holder = this;
  }
  input(index: number): Value | null {
    return this.operands[index]?.value ?? null;
  }
  /** The first result; throws if there is none. */
  get output(): Value {
    return this.outputs[0] ?? fail('QC1001', `${this.op} has no result`, this.loc);
  }
  /** Graphs held as attributes (`If`, `Loop`, `Scan`). */
  get bodies(): readonly Graph[] {
    return [...this.attributes.values()].flatMap(graphsOf);
  }
}

// The friend access that TypeScript lacks: use lists, names and types are read-only for everyone but these four lines.
const link = (value: Value, use: Use): void => void (value.uses as Set<Use>).add(use);
const unlink = (value: Value, use: Use): void => void (value.uses as Set<Use>).delete(use);
const setName = (value: Value, name: string): void => void ((value as { name: string }).name = name);
const setType = (value: Value, type: TensorType | null): void => void ((value as { type: TensorType | null }).type = type);

/** The IR speaks this version of the default operator set: the first with Attention, RMSNormalization and RotaryEmbedding. */
export const irOpset = 23;

/**
 * A graph of nodes in topological order. Every mutation goes through its methods and bumps `version`.
 * A graph held by a node (`If`, `Loop`) may use values of the graphs around it.
 */
export class Graph {
  readonly name: string;
  readonly parent: Graph | null;
  /** The node that holds this graph as an attribute; null for a root, and until that node is made. */
  holder: Node | null = null;
  readonly constants: ReadonlySet<Value> = new Set();
  /** Operator set versions by domain; `''` is the default domain. Meaningful on the root graph only. */
  readonly opsets = new Map<string, number>([['', irOpset]]);
  /** Strings saved with the model. */
  readonly metadata = new Map<string, string>();
  carried: unknown = null;
  /** Bumped by every mutation. */
  version = 0;
  /** Replaced and never changed, so that a walk over inputs or outputs may change them. */
  #inputs: readonly Value[] = [];
  #outputs: readonly Value[] = [];
  #first: Node | null = null;
  #last: Node | null = null;
  #size = 0;
  /** How often a name is taken, in this graph and the ones inside it; held by the root. */
  readonly #names: Map<string, number>;
  constructor(name: string, parent: Graph | null = null) {
    this.name = name;
    this.parent = parent;
    this.#names = parent ? parent.#names : new Map();
  }

  /**
   * The nodes in order. While iterating it is safe to erase the current node, or to insert anywhere: nodes inserted after
   * the current one are visited, nodes inserted before it are not.
   */
  get nodes(): Iterable<Node> {
    return { [Symbol.iterator]: () => this.#walk() };
  }
  get inputs(): readonly Value[] {
    return this.#inputs;
  }
  get outputs(): readonly Value[] {
    return this.#outputs;
  }
  get size(): number {
    return this.#size;
  }
  get first(): Node | null {
    return this.#first;
  }
  get last(): Node | null {
    return this.#last;
  }

  addInput(name: string, type: TensorType | null): Value {
    const value = new Value(name, type, { kind: 'input' });
    this.#inputs = [...this.#inputs, value];
    this.#take(name);
    this.version++;
    return value;
  }
  addOutput(value: Value): void {
    this.setOutputs([...this.#outputs, value]);
  }
  /** The graph gives out these values, in this order, under the names that they have. */
  setOutputs(values: readonly Value[]): void {
    this.#outputs = [...values];
    this.version++;
  }
  addConstant(name: string, tensor: Tensor): Value {
    const value = new Value(name, { dtype: tensor.dtype, shape: tensor.shape }, { kind: 'constant', tensor });
    (this.constants as Set<Value>).add(value);
    this.#take(name);
    this.version++;
    return value;
  }
  append(node: Node): Node {
    return this.#insert(node, this.#last, null);
  }
  insertBefore(anchor: Node, node: Node): Node {
    return this.#insert(node, this.#own(anchor).previous, anchor);
  }
  insertAfter(anchor: Node, node: Node): Node {
    return this.#insert(node, anchor, this.#own(anchor).next);
  }
  /** In front of all other nodes: where a reader of a graph input belongs. */
  prepend(node: Node): Node {
    return this.#insert(node, null, this.#first);
  }

  /**
   * Says what is known of the type of a value. `version` stays: a type says what the graph computes and does not change it, and a pass that
   * only infers types must not count as one that changed something, which costs a verification and a run of the contract check.
   */
  setType(value: Value, type: TensorType | null): void {
    setType(value, type);
  }
  /** Gives a node other attributes; the graphs among them must be those that it has. */
  setAttributes(node: Node, attributes: Attributes): void {
    const own = node.attributes as Map<string, Attribute>;
    own.clear();
    for (const [name, value] of Object.entries(attributes)) own.set(name, value);
    this.version++;
  }
  setInput(node: Node, index: number, value: Value | null): void {
    const use = node.operands[index] ?? fail('QC1001', `${node.op} has no operand ${index}`, node.loc);
    if (use.value) unlink(use.value, use);
    (use as { value: Value | null }).value = value;
    if (value) link(value, use);
    this.version++;
  }
  /**
   * Redirects every use of `from` to `to`, in this graph and the ones inside it, except the uses in `except`. Where the graph gives
   * `from` out, it gives `to` out under the name that callers know.
   */
  replaceUses(from: Value, to: Value, except?: Node): void {
    const home = from.producer?.graph ?? this;
    for (const use of [...from.uses]) if (use.node !== except) this.setInput(use.node, use.index, to);
    if (home.outputs.includes(from)) home.replaceOutput(from, to);
    this.version++;
  }
  /**
   * Where the graph gives `from` out, it gives `to` out, under the name that callers know; who reads `from` inside goes on to. This is the one
   * way in which an output changes and keeps its name: `to` takes the name, or an Identity behind it does where `to` cannot be renamed.
   */
  replaceOutput(from: Value, to: Value): void {
    const name = from.name;
    const type = from.type ?? to.type;
    this.rename(from, this.freshName(name));
    const shown = this.canRenameOutput(to) ? to : this.append(new Node({ op: 'Identity', inputs: [to], results: [{ name, type }] })).output;
    if (shown === to) this.rename(to, name);
    if (shown.type === null) setType(shown, type);
    this.setOutputs(this.#outputs.map((o) => (o === from ? shown : o)));
  }
  /** `to` takes the place and the name of `from`: what was called `h` before a rewrite is called `h` after it. */
  replace(from: Value, to: Value): void {
    const isOutput = this.outputs.includes(from);
    this.replaceUses(from, to);
    if (isOutput || to.producer === null) return;
    const name = from.name;
    this.rename(from, this.freshName(name));
    this.rename(to, name);
  }
  /** Whether a value can be given out under another name: inputs, constants, and what is given out already need an Identity for that. */
  canRenameOutput(value: Value): boolean {
    return value.producer?.graph === this && !this.outputs.includes(value);
  }
  rename(value: Value, name: string): void {
    this.#release(value.name);
    setName(value, name);
    this.#take(name);
    this.version++;
  }
  erase(node: Node): void {
    for (const out of node.outputs) {
      if (out.uses.size > 0 || this.outputs.includes(out)) fail('QC1002', `cannot erase ${node.op}: %${out.name} is still used`, node.loc);
    }
    this.#unhook(node);
    for (const out of node.outputs) this.#release(out.name);
    node.graph = null;
    this.version++;
  }
  eraseConstant(value: Value): void {
    if (value.uses.size > 0) fail('QC1002', `cannot erase constant %${value.name}: it is still used`);
    (this.constants as Set<Value>).delete(value);
    this.#release(value.name);
    this.version++;
  }
  eraseInput(value: Value): void {
    if (value.uses.size > 0) fail('QC1002', `cannot erase input %${value.name}: it is still used`);
    this.#inputs = this.#inputs.filter((v) => v !== value);
    this.#release(value.name);
    this.version++;
  }
  /** A name that is free: `hint`, or `hint_1`, `hint_2`, ... A trailing number of the hint is dropped first, so names do not grow. */
  freshName(hint: string): string {
    if (!this.#names.has(hint)) return hint;
    const stem = hint.replace(/_\d+$/, '');
    for (let i = 1; ; i++) if (!this.#names.has(`${stem}_${i}`)) return `${stem}_${i}`;
  }
  isNameTaken(name: string): boolean {
    return this.#names.has(name);
  }

  #insert(node: Node, previous: Node | null, next: Node | null): Node {
    node.graph = this;
    node.previous = previous;
    node.next = next;
    if (previous) previous.next = node;
    else this.#first = node;
    if (next) next.previous = node;
    else this.#last = node;
    for (const out of node.outputs) this.#take(out.name);
    this.#size++;
    this.version++;
    return node;
  }
  /** A node beside another one belongs to the graph of that one, which may be the body of an If. */
  #own(anchor: Node): Node {
    return anchor.graph === this ? anchor : fail('QC1001', `${anchor.op} is not a node of graph ${this.name}`, anchor.loc);
  }
  #unhook(node: Node): void {
    for (const use of node.operands) if (use.value) unlink(use.value, use);
    for (const body of node.bodies) for (const inner of body.nodes) body.#unhook(inner);
    if (node.previous) node.previous.next = node.next;
    else this.#first = node.next;
    if (node.next) node.next.previous = node.previous;
    else this.#last = node.previous;
    this.#size--;
  }
  *#walk(): Generator<Node> {
    let node = this.#first;
    while (node) {
      yield node;
      // An erased node keeps its link; a chain of erased nodes leads to the next one that is still here.
      do node = node.next;
      while (node && node.graph !== this);
    }
  }
  #take(name: string): void {
    this.#names.set(name, (this.#names.get(name) ?? 0) + 1);
  }
  #release(name: string): void {
    const left = (this.#names.get(name) ?? 1) - 1;
    if (left === 0) this.#names.delete(name);
    else this.#names.set(name, left);
  }
}
