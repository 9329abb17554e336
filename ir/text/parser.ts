import type { Attribute } from '../attributes.ts';
import { fail } from '../diagnostics.ts';
import { Graph, Node, type Value } from '../graph.ts';
import type { Tensor } from '../tensor.ts';
import { isDType, type Dim, type TensorType } from '../types.ts';
import { Lexer } from './lexer.ts';
import { parseTensor, type TensorSource } from './tensors.ts';

export interface ParseOptions {
  /** Named in messages. */
  readonly file?: string;
  /** Gives the data behind `file` and `digest` constants; without it they are errors. */
  readonly source?: TensorSource;
}

/** Reads the form that `printGraph` writes: see docs/text-format.md for the grammar. */
export function parseGraph(text: string, options: ParseOptions = {}): Graph {
  const reader = new Reader(new Lexer(text, options.file ?? '<text>'), options.source ?? null);
  const graph = reader.graph(null, new Map());
  if (reader.lexer.peek !== '') reader.lexer.fail(`expected the end of the text, found '${reader.lexer.peek}'`);
  return graph;
}

type Scope = Map<string, Value>;

class Reader {
  readonly lexer: Lexer;
  readonly #source: TensorSource | null;
  constructor(lexer: Lexer, source: TensorSource | null) {
    this.lexer = lexer;
    this.#source = source;
  }

  graph(parent: Graph | null, outer: Scope): Graph {
    const lexer = this.lexer;
    lexer.expect('graph');
    lexer.expect('@');
    const graph = new Graph(this.#word('a graph name'), parent);
    const scope: Scope = new Map(outer);
    const own = new Set<string>();
    const define = (v: Value) => {
      if (own.has(v.name)) lexer.fail(`%${v.name} is already defined`);
      own.add(v.name);
      scope.set(v.name, v);
    };
    lexer.list('(', ')', () => {
      const { name, type } = this.#binding();
      define(graph.addInput(name, type));
    });
    if (lexer.accept('opset')) this.#opsets(graph);
    lexer.expect('{');
    while (!lexer.accept('return')) {
      if (lexer.accept('const')) define(this.#constant(graph));
      else this.#node(graph, scope).outputs.forEach((o) => o.name === '' || define(o));
    }
    if (lexer.peek !== '}') {
      do graph.addOutput(this.#use(scope));
      while (lexer.accept(','));
    }
    lexer.expect('}');
    return graph;
  }

  #opsets(graph: Graph): void {
    do {
      const domain = this.#word('a domain');
      graph.opsets.set(domain === 'onnx' ? '' : domain, this.#integer());
    } while (this.lexer.accept(','));
  }

  #constant(graph: Graph): Value {
    const { name, type } = this.#binding();
    this.lexer.expect('=');
    return graph.addConstant(name, this.#tensor(type ?? this.lexer.fail('a constant needs a type')));
  }

  #node(graph: Graph, scope: Scope): Node {
    const lexer = this.lexer;
    const loc = lexer.location;
    const results = [this.#result()];
    while (lexer.accept(',')) results.push(this.#result());
    lexer.expect('=');
    const op = this.#word('an operator');
    const inputs: (Value | null)[] = [];
    lexer.list('(', ')', () => inputs.push(lexer.accept('_') ? null : this.#use(scope)));
    const attributes: Record<string, Attribute> = {};
    if (lexer.peek === '{') {
      lexer.list('{', '}', () => {
        const key = this.#word('an attribute');
        lexer.expect('=');
        attributes[key] = this.#attribute(graph, scope);
      });
    }
    return graph.append(new Node({ op, inputs, attributes, results, loc }));
  }

  #result(): { readonly name: string; readonly type: TensorType | null } {
    return this.lexer.accept('_') ? { name: '', type: null } : this.#binding();
  }

  #use(scope: Scope): Value {
    const at = this.lexer.location;
    const name = this.lexer.name();
    return scope.get(name) ?? fail('QC1501', `%${name} is not defined`, at);
  }

  #binding(): { readonly name: string; readonly type: TensorType | null } {
    const name = this.lexer.name();
    return { name, type: this.lexer.accept(':') ? this.#type() : null };
  }

  #type(): TensorType {
    const dtype = this.lexer.word('a type');
    if (!isDType(dtype)) return this.lexer.fail(`'${dtype}' is not an element type`);
    if (this.lexer.peek !== '[') return { dtype, shape: null };
    const shape: Dim[] = [];
    this.lexer.list('[', ']', () => {
      const d = this.lexer.word('an extent');
      shape.push(d.startsWith('"') ? this.lexer.unquote(d) : d === '?' ? null : /^\d+$/.test(d) ? Number(d) : d);
    });
    return { dtype, shape };
  }

  #tensor(type: TensorType): Tensor {
    const shape = type.shape?.map((d) => (typeof d === 'number' ? d : this.lexer.fail('a constant needs a known shape')));
    return parseTensor(this.lexer, type.dtype, shape ?? this.lexer.fail('a constant needs a known shape'), this.#source);
  }

  #attribute(graph: Graph, scope: Scope): Attribute {
    const lexer = this.lexer;
    if (lexer.peek === 'graph') return { kind: 'graph', value: this.graph(graph, scope) };
    if (lexer.peek === '[') return { kind: 'ints', value: this.#items((w) => this.#bigint(w)) };
    const word = lexer.word('a value');
    if (word === 'floats') return { kind: 'floats', value: this.#items((w) => this.#float(w, 'a number')) };
    if (word === 'strings') return { kind: 'strings', value: this.#items((w) => lexer.unquote(w)) };
    if (word === 'opaque') return { kind: 'opaque', value: Uint8Array.from(Buffer.from(lexer.unquote(lexer.word('a string')), 'hex')) };
    if (word === 'graphs') {
      const value: Graph[] = [];
      lexer.list('[', ']', () => value.push(this.graph(graph, scope)));
      return { kind: 'graphs', value };
    }
    if (isDType(word)) return { kind: 'tensor', value: this.#tensorAfter(word) };
    if (word.startsWith('"')) return { kind: 'string', value: lexer.unquote(word) };
    if (/^[+-]?\d+$/.test(word)) return { kind: 'int', value: BigInt(word) };
    return { kind: 'float', value: this.#float(word, 'a value') };
  }

  #tensorAfter(dtype: TensorType['dtype']): Tensor {
    const shape: Dim[] = [];
    this.lexer.list('[', ']', () => shape.push(Number(this.lexer.word('an extent'))));
    return this.#tensor({ dtype, shape });
  }

  #items<T>(read: (word: string) => T): T[] {
    const items: T[] = [];
    this.lexer.list('[', ']', () => items.push(read(this.lexer.word('a value'))));
    return items;
  }

  #bigint(word: string): bigint {
    return /^[+-]?\d+$/.test(word) ? BigInt(word) : this.lexer.fail(`'${word}' is not an integer`);
  }
  #float(word: string, what: string): number {
    const value = Math.fround(Number(word));
    return Number.isNaN(value) && word !== 'NaN' ? this.lexer.fail(`'${word}' is not ${what}`) : value;
  }
  #integer(): number {
    return Number(this.#bigint(this.lexer.word('a number')));
  }
  #word(what: string): string {
    const word = this.lexer.word(what);
    return word.startsWith('"') ? this.lexer.unquote(word) : word;
  }
}
