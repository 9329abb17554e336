import type { Attribute } from '../attributes.ts';
import { irOpset, type Graph, type Node, type Value } from '../graph.ts';
import { bigIntegers, doubles, floats, integers, type Tensor } from '../tensor.ts';
import { formatType, sizeOf } from '../types.ts';
import { digestOf, doubleText, floatText } from './numbers.ts';

const inlineLimit = 16;

/** Text that `parseGraph` reads back, except that constants above 16 elements print as a digest. */
export const printGraph = (graph: Graph): string => `${graphText(graph, '')}\n`;

function graphText(graph: Graph, indent: string): string {
  const inner = `${indent}  `;
  const lines = [
    ...[...graph.constants].map((c) => `${inner}const ${nameText(c)}: ${formatType(c.type!)} = ${tensorText(c.constant!)}`),
    ...[...graph.nodes].map((n) => `${inner}${nodeText(n, inner)}`),
    `${inner}return ${graph.outputs.map(nameText).join(', ')}`,
  ];
  return `graph @${wordText(graph.name)}(${graph.inputs.map(typed).join(', ')})${opsetText(graph)} {\n${lines.join('\n')}\n${indent}}`;
}

const nameText = (v: Value): string => (/^[\w./-]+$/.test(v.name) ? `%${v.name}` : `%${JSON.stringify(v.name)}`);
const wordText = (w: string): string => (/^[\w.][\w.-]*$/.test(w) ? w : JSON.stringify(w));
const typed = (v: Value): string => (v.type ? `${nameText(v)}: ${formatType(v.type)}` : nameText(v));

/** Printed only where it is not the one that every graph of the IR has. */
function opsetText(graph: Graph): string {
  if (graph.parent) return '';
  const others = [...graph.opsets].filter(([domain, version]) => domain !== 'qc' && !(domain === '' && version === irOpset));
  return others.length === 0 ? '' : ` opset ${others.map(([d, v]) => `${d === '' ? 'onnx' : wordText(d)} ${v}`).join(', ')}`;
}

/** One node on one line, as `printGraph` shows it. */
export function nodeText(node: Node, indent = ''): string {
  const operands = node.operands.map((u) => (u.value ? nameText(u.value) : '_')).join(', ');
  const attributes = [...node.attributes]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([k, a]) => `${wordText(k)} = ${attributeText(a, indent)}`);
  const results = node.outputs.map((o) => (o.name === '' ? '_' : typed(o))).join(', ');
  return `${results} = ${wordText(node.op)}(${operands})${attributes.length > 0 ? ` {${attributes.join(', ')}}` : ''}`;
}

function attributeText(a: Attribute, indent: string): string {
  switch (a.kind) {
    case 'int':
      return String(a.value);
    case 'float':
      return floatText(a.value);
    case 'string':
      return JSON.stringify(a.value);
    case 'ints':
      return `[${a.value.join(', ')}]`;
    case 'floats':
      return `floats [${a.value.map(floatText).join(', ')}]`;
    case 'strings':
      return `strings [${a.value.map((s) => JSON.stringify(s)).join(', ')}]`;
    case 'tensor':
      return `${formatType(a.value)} ${tensorText(a.value)}`;
    case 'graph':
      return graphText(a.value, indent);
    case 'graphs':
      return `graphs [${a.value.map((g) => graphText(g, indent)).join(', ')}]`;
    case 'opaque':
      return `opaque "${Buffer.from(a.value).toString('hex')}"`;
  }
}

function tensorText(t: Tensor): string {
  if (t.origin.kind === 'generated') return t.origin.text;
  if (t.origin.kind === 'file') return `file ${JSON.stringify(t.origin.path)} ${t.origin.offset} ${t.origin.length}`;
  const elements = sizeOf(t.shape) <= inlineLimit ? elementTexts(t) : null;
  return elements ? `[${elements.join(', ')}]` : `digest "${digestOf(t.bytes())}"`;
}

function elementTexts(t: Tensor): readonly string[] | null {
  if (t.dtype === 'f64') return Array.from(doubles(t), doubleText);
  if (t.dtype === 'f32' || t.dtype === 'f16' || t.dtype === 'bf16') return Array.from(floats(t), floatText);
  if (t.dtype === 'i64' || t.dtype === 'u64') return bigIntegers(t).map(String);
  return t.dtype === 'bool' || /^[iu](8|16|32)$/.test(t.dtype) ? integers(t).map(String) : null;
}
