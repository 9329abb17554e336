import type { Attribute } from '../../ir/attributes.ts';
import { fail } from '../../ir/diagnostics.ts';
import type { AttributeProto, FunctionProto, NodeProto } from './proto-types.ts';
import { int64 } from './proto.ts';
import { attributeTypes as kinds } from './schema.ts';

/** The kinds of attributes that a body can take from its call, and what a Constant calls them. */
const referenced = { int: 'value_int', ints: 'value_ints', float: 'value_float', tensor: 'value' } as const;

/** What a local function computes, as nodes of the default domain; `attributes` are those that it reads, and every call must have them. */
export interface Body {
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: readonly string[];
  readonly nodes: readonly NodeProto[];
}

/** Writes the nodes of a body one after the other; every method gives the name of what the new node makes. */
export class BodyWriter {
  readonly nodes: NodeProto[] = [];

  /** A node of the default domain; `as` names its result where the name matters. */
  node(
    opType: string,
    input: readonly string[],
    attributes: Readonly<Record<string, Attribute>> = {},
    as = `${opType}_${this.nodes.length}`,
  ): string {
    return this.#push(
      opType,
      input,
      Object.entries(attributes).map(([name, value]) => attributeProto(name, value)),
      as,
    );
  }

  /** As `node`, with one attribute taken from the call. */
  referring(opType: string, input: readonly string[], attribute: string, kind: keyof typeof referenced): string {
    return this.#push(opType, input, [{ name: attribute, type: kinds[kind], refAttrName: attribute }]);
  }

  /** An attribute of the call as a value. */
  attribute(name: string, kind: keyof typeof referenced): string {
    return this.#push('Constant', [], [{ name: referenced[kind], type: kinds[kind], refAttrName: name }]);
  }

  int(value: number): string {
    return this.node('Constant', [], { value_int: { kind: 'int', value: BigInt(value) } });
  }

  ints(values: readonly number[]): string {
    return this.node('Constant', [], { value_ints: { kind: 'ints', value: values.map(BigInt) } });
  }

  #push(opType: string, input: readonly string[], attribute: readonly AttributeProto[], as = `${opType}_${this.nodes.length}`): string {
    this.nodes.push({ opType, input, output: [as], ...(attribute.length > 0 ? { attribute } : {}) });
    return as;
  }
}

/** An attribute of a node in a body. */
export function attributeProto(name: string, value: Attribute): AttributeProto {
  switch (value.kind) {
    case 'int':
      return { name, type: kinds.int, i: int64(value.value) };
    case 'ints':
      return { name, type: kinds.ints, ints: value.value.map(int64) };
    case 'string':
      return { name, type: kinds.string, s: Buffer.from(value.value, 'utf8') };
    default:
      return fail('QC9001', `bodies have no ${value.kind} attributes yet`);
  }
}

/** The function that carries a body. */
export const functionProto = (
  name: { readonly domain: string; readonly name: string; readonly overload?: string },
  body: Body,
  more: Iterable<string>,
  opset: number,
): FunctionProto => ({
  ...name,
  input: body.inputs,
  output: body.outputs,
  attribute: [...body.attributes, ...[...more].filter((a) => !body.attributes.includes(a)).toSorted()],
  node: body.nodes,
  opsetImport: [{ domain: '', version: int64(opset) }],
});
