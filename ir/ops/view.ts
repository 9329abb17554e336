import type { Attribute } from '../attributes.ts';
import { fail } from '../diagnostics.ts';
import type { Node, Value } from '../graph.ts';

/** An operand or result of an operator, as the ONNX schema declares it. */
export interface Formal {
  readonly name: string;
  readonly option: 'single' | 'optional' | 'variadic';
}

export interface AttributeSchema {
  readonly kind: Attribute['kind'];
  readonly default?: number | string | readonly number[];
}

export interface OpSchema {
  readonly op: string;
  readonly since: number;
  readonly inputs: readonly Formal[];
  readonly outputs: readonly Formal[];
  readonly attributes: Readonly<Record<string, AttributeSchema>>;
}

/** A typed reading of a node. Views hold no state: two views of one node are interchangeable. */
export abstract class OpView {
  readonly node: Node;
  constructor(node: Node) {
    this.node = node;
  }
  protected operand(index: number): Value {
    return this.node.input(index) ?? fail('QC1201', `${this.node.op} lacks required operand ${index}`, this.node.loc);
  }
  protected int(name: string, fallback: number): number {
    const a = this.node.attributes.get(name);
    if (a === undefined) return fallback;
    return a.kind === 'int' ? Number(a.value) : this.wrongKind(name, 'int');
  }
  protected float(name: string, fallback: number): number {
    const a = this.node.attributes.get(name);
    if (a === undefined) return fallback;
    return a.kind === 'float' ? a.value : this.wrongKind(name, 'float');
  }
  protected string(name: string, fallback: string): string {
    const a = this.node.attributes.get(name);
    if (a === undefined) return fallback;
    return a.kind === 'string' ? a.value : this.wrongKind(name, 'string');
  }
  protected ints(name: string): readonly number[] | null {
    const a = this.node.attributes.get(name);
    if (a === undefined) return null;
    return a.kind === 'ints' ? a.value.map(Number) : this.wrongKind(name, 'ints');
  }
  private wrongKind(name: string, kind: string): never {
    return fail('QC1202', `attribute '${name}' of ${this.node.op} is not of kind ${kind}`, this.node.loc);
  }
}

/** The static side of a view class; `I` are the names of its operands. */
export interface OpClass<V extends OpView = OpView, I extends string = string> {
  readonly schema: OpSchema & { readonly inputs: readonly (Formal & { readonly name: I })[] };
  new (node: Node): V;
}

/** The node seen as `cls`, or null if it is another operator. */
export const viewAs = <V extends OpView>(cls: OpClass<V>, node: Node | null): V | null =>
  node?.op === cls.schema.op ? new cls(node) : null;
