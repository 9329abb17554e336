import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  eachGraph,
  bitsOf,
  dense,
  dtypes,
  encodeFloats,
  float,
  generated,
  Graph,
  inFile,
  inMemory,
  int64s,
  lazy,
  Node,
  parseGraph,
  printGraph,
  scalar,
  tensorType,
  verify,
  type Attribute,
  type DType,
  type Tensor,
  type Value,
} from '../../ir/index.ts';
import { digestOf, doubleText, floatText, random } from '../../ir/text/numbers.ts';
import { errorOf, fixtureNames, openFixture } from '../support/run.ts';

/** Everything that text must keep, as plain data. */
function portrait(graph: Graph): unknown {
  const bytes = (t: Tensor): unknown => [t.dtype, [...t.shape], Buffer.from(t.bytes()).toString('hex')];
  const typed = (v: Value): unknown => [v.name, v.type && { dtype: v.type.dtype, shape: v.type.shape && [...v.type.shape] }];
  const attribute = (a: Attribute): unknown => {
    if (a.kind === 'tensor') return bytes(a.value);
    if (a.kind === 'graph') return portrait(a.value);
    if (a.kind === 'graphs') return a.value.map(portrait);
    if (a.kind === 'float') return ['float', Object.is(a.value, -0) ? '-0' : String(a.value)];
    return [a.kind, typeof a.value === 'bigint' ? String(a.value) : Array.from(a.value as Iterable<unknown>, String)];
  };
  return {
    name: graph.name,
    opsets: graph.parent ? null : [...graph.opsets].filter(([d]) => d !== 'qc').sort(),
    inputs: graph.inputs.map(typed),
    constants: [...graph.constants].map((c) => [c.name, bytes(c.constant!)]),
    nodes: [...graph.nodes].map((n) => [
      n.op,
      n.operands.map((u) => u.value?.name ?? null),
      n.outputs.map(typed),
      [...n.attributes].sort(([a], [b]) => (a < b ? -1 : 1)).map(([k, a]) => [k, attribute(a)]),
    ]),
    outputs: graph.outputs.map((v) => v.name),
  };
}
/** Gives back the constants that text only names. */
const sourceFrom = (graph: Graph) => {
  const tensors = new Map<string, Tensor>();
  for (const g of eachGraph(graph)) {
    for (const t of [
      ...[...g.constants].map((c) => c.constant!),
      ...[...g.nodes].flatMap((n) => [...n.attributes.values()].flatMap((a) => (a.kind === 'tensor' ? a.value : []))),
    ]) {
      const { origin } = t;
      tensors.set(origin.kind === 'file' ? `${origin.path} ${origin.offset}` : digestOf(t.bytes()), t);
    }
  }
  return (named: { readonly file: { readonly path: string; readonly offset: number } } | { readonly digest: string }): Tensor =>
    tensors.get('file' in named ? `${named.file.path} ${named.file.offset}` : named.digest)!;
};
function expectRoundTrip(graph: Graph): void {
  const text = printGraph(graph);
  const back = parseGraph(text, { source: sourceFrom(graph) });
  expect(portrait(back)).toEqual(portrait(graph));
  expect(printGraph(back)).toBe(text);
}

const texts: Readonly<Record<string, string>> = {
  'a linear': 'graph @g(%x: f32[N,2]) {\n  const %w: f32[2,2] = [1.0, -2.5, 1e-8, 3.0]\n  %y: f32[N,2] = MatMul(%x, %w)\n  return %y\n}\n',
  'nothing at all': 'graph @empty() {\n  return \n}\n',
  'values without types, and of unknown rank': 'graph @g(%x, %y: f32) {\n  %z = Add(%x, %y)\n  %u: f32 = Relu(%z)\n  return %u\n}\n',
  'unknown and symbolic extents': 'graph @g(%x: f32[?,N,4*batch*seq,?1,3]) {\n  %y: f32[] = ReduceSum(%x)\n  return %y\n}\n',
  'extents that are no words': 'graph @g(%x: f32["past_sequence_length + 1","7","?","é"]) {\n  return %x\n}\n',
  'omitted operands and results':
    'graph @g(%x: f32[2]) {\n  %a, _, %b = LayerNormalization(%x, _, %x)\n  _ = Dropout(%a)\n  return %a, %b\n}\n',
  'quoted names':
    'graph @"a graph"(%"x y": f32[2], %"": f32[2]) {\n  %"q\\"uo\\\\te\\n": f32[2] = Add(%"x y", %"")\n  %/model/layers.0/Add_output-0: f32[2] = Relu(%"q\\"uo\\\\te\\n")\n  return %/model/layers.0/Add_output-0\n}\n',
  'attributes of every kind':
    'graph @g(%x: f32[2]) {\n  %y = com.example.All(%x) {a = 1, b = -9223372036854775808, c = 1.5, d = "te\\"xt", e = [], f = [1, -2, 9223372036854775807], g = floats [1.0, -0.5], h = floats [], i = strings ["a", "b c"], j = strings [], k = f32[2] [1.0, 2.0], l = i64[] [3], m = opaque "00ff10", n = opaque "", o = 1e-8, p = -0.0, q = Infinity, r = -Infinity, s = NaN, t = 1e+30}\n  return %y\n}\n',
  'bodies in bodies':
    'graph @g(%x: f32[2], %c: bool) {\n  %y: f32[2] = If(%c) {else_branch = graph @e() {\n    const %k: f32[2] = [1.0, 2.0]\n    %b = Add(%x, %k)\n    return %b\n  }, then_branch = graph @t() {\n    %a = If(%c) {else_branch = graph @ee() {\n      %d = Neg(%x)\n      return %d\n    }, then_branch = graph @tt() {\n      %e = Relu(%x)\n      return %e\n    }}\n    return %a\n  }}\n  return %y\n}\n',
  'several graphs in one attribute':
    'graph @g(%x: f32[2]) {\n  %y = com.example.Case(%x) {branches = graphs [graph @a() {\n    %a = Relu(%x)\n    return %a\n  }, graph @b() {\n    %b = Neg(%x)\n    return %b\n  }]}\n  return %y\n}\n',
  'odd operators and attributes': 'graph @g(%x: f32[2]) {\n  %y = "aten::to dense"(%x) {"an attribute" = 1}\n  return %y\n}\n',
  'an opset line': 'graph @g(%x: f32[2]) opset onnx 17, com.microsoft 1, "odd domain" 2 {\n  %y = Relu(%x)\n  return %y\n}\n',
  'generated constants':
    'graph @g() {\n  const %a: f32[100] = splat 1.5\n  const %b: f32[3,4] = random 7\n  const %c: f32[0] = []\n  return %a, %b, %c\n}\n',
  'constants of every listed type':
    'graph @g() {\n  const %a: f32[2] = [NaN, -Infinity]\n  const %b: f64[2] = [0.1, -0.0]\n  const %c: f16[2] = [0.099975586, 65504.0]\n  const %d: bf16[1] = [1.0078125]\n  const %e: i64[3] = [9223372036854775807, -9223372036854775808, 9007199254740993]\n  const %f: u64[1] = [18446744073709551615]\n  const %g: i32[1] = [-2147483648]\n  const %h: u32[1] = [4294967295]\n  const %i: i16[1] = [-32768]\n  const %j: u16[1] = [65535]\n  const %k: i8[2] = [-128, 127]\n  const %l: u8[1] = [255]\n  const %m: bool[2] = [1, 0]\n  const %n: f32[] = [1.0]\n  const %o: f32[2] = [-0.0, 1e-45]\n  return %a, %b, %c, %d, %e, %f, %g, %h, %i, %j, %k, %l, %m, %n, %o\n}\n',
};

describe('print after parse is the identity on printed text', () => {
  test.each(Object.entries(texts))('%s', (_, text) => {
    const graph = parseGraph(text);
    expect(printGraph(graph)).toBe(text);
    expectRoundTrip(graph);
  });
});

describe('parse after print is the identity on graphs', () => {
  const dtypeTensors: readonly (readonly [DType, Tensor])[] = dtypes.flatMap((d) =>
    d === 'string'
      ? []
      : [[d, lazy(d, [40], () => Uint8Array.from({ length: Math.ceil((40 * bitsOf(d)) / 8) }, (_, i) => (i * 37 + 11) & 0x3b))] as const],
  );
  test.each(dtypeTensors)('a large constant of %s, by its digest', (_, t) => {
    const graph = new Graph('g');
    graph.addOutput(graph.addConstant('k', t));
    expect(printGraph(graph)).toContain('= digest "');
    expectRoundTrip(graph);
  });
  test.each(['f32', 'f64', 'f16', 'bf16'] as const)('any %s elements', (dtype) =>
    fc.assert(
      fc.property(fc.array(fc.float(), { minLength: 1, maxLength: 16 }), (values) => {
        const graph = new Graph('g');
        graph.addOutput(
          graph.addConstant(
            'k',
            inMemory(
              dtype,
              [values.length],
              encodeFloats(
                dtype,
                Float32Array.from(values, (x) => (Number.isNaN(x) ? NaN : x)),
              ),
            ),
          ),
        );
        expectRoundTrip(graph);
      }),
    ),
  );
  test('any doubles and any 64-bit integers', () =>
    fc.assert(
      fc.property(fc.double(), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), (x, n) => {
        const graph = new Graph('g');
        graph.addOutput(graph.addConstant('d', inMemory('f64', [1], Float64Array.of(Number.isNaN(x) ? NaN : x))));
        graph.addOutput(graph.addConstant('n', int64s([1], [n])));
        expectRoundTrip(graph);
      }),
    ));
  test('any attributes', () => {
    const attribute: fc.Arbitrary<Attribute> = fc.oneof(
      fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((value): Attribute => ({ kind: 'int', value })),
      fc
        .array(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), { maxLength: 4 })
        .map((value): Attribute => ({ kind: 'ints', value })),
      fc.float().map(float),
      fc.array(fc.float(), { maxLength: 4 }).map((value): Attribute => ({ kind: 'floats', value })),
      fc.string({ unit: 'grapheme' }).map((value): Attribute => ({ kind: 'string', value })),
      fc.array(fc.string(), { maxLength: 3 }).map((value): Attribute => ({ kind: 'strings', value })),
      fc.array(fc.float({ noNaN: true }), { maxLength: 3 }).map((v): Attribute => ({ kind: 'tensor', value: dense([v.length], v) })),
      fc.uint8Array({ maxLength: 5 }).map((value): Attribute => ({ kind: 'opaque', value })),
    );
    fc.assert(
      fc.property(
        fc.dictionary(fc.stringMatching(/^[a-z_][a-z0-9_]{0,6}$/), attribute, { maxKeys: 5, noNullPrototype: true }),
        (attributes) => {
          const graph = new Graph('g');
          const x = graph.addInput('x', tensorType('f32', [2]));
          graph.addOutput(
            graph.append(new Node({ op: 'com.example.Any', inputs: [x], attributes, results: [{ name: 'y', type: null }] })).output,
          );
          expectRoundTrip(graph);
        },
      ),
      { numRuns: 300 },
    );
  });
  test('any names of values, graphs and extents', () =>
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.string({ minLength: 1, unit: 'grapheme' }), { minLength: 3, maxLength: 3 }),
        ([name, graphName, dim]) => {
          const graph = new Graph(graphName!);
          graph.addOutput(graph.addInput(name!, tensorType('f32', [dim!, 2])));
          expectRoundTrip(graph);
        },
      ),
      { numRuns: 300 },
    ));
  test('constants that lie in a file are named, not read', () => {
    const graph = new Graph('g');
    const never = (): Uint8Array => {
      throw new Error('read');
    };
    graph.addOutput(graph.addConstant('w', inFile('f32', [8], { path: 'a "model".data', offset: 4096, length: 32 }, never)));
    expect(printGraph(graph)).toBe('graph @g() {\n  const %w: f32[8] = file "a \\"model\\".data" 4096 32\n  return %w\n}\n');
    const back = parseGraph(printGraph(graph), {
      source: (named, dtype, shape) => inFile(dtype, shape, 'file' in named ? named.file : { path: '', offset: 0, length: 0 }, never),
    });
    expect(printGraph(back)).toBe(printGraph(graph));
  });
  test.each(fixtureNames)('the exported %s', (name) => expectRoundTrip(openFixture(name)));
});

describe('constants without their data', () => {
  test('cannot be read from a digest', () =>
    expect(errorOf(() => parseGraph('graph @g() {\n  const %w: f32[100] = digest "ab12"\n  return %w\n}'))?.message).toBe(
      '<text>:2:31: error QC1502: the constant is only known by its digest ab12',
    ));
  test('cannot be read from a file that is not at hand', () =>
    expect(errorOf(() => parseGraph('graph @g() {\n  const %w: f32[1] = file "w.bin" 0 4\n  return %w\n}'))?.message).toBe(
      '<text>:2:27: error QC1502: the constant lies in w.bin, which is not at hand',
    ));
  test('splat and random work for other element types too', () => {
    const graph = parseGraph(
      'graph @g() { const %a: i8[20] = splat -3 const %b: f16[2] = random 1 const %c: i64[2] = splat 7 return %a, %b, %c }',
    );
    const [a, b, c] = [...graph.constants].map((v) => v.constant!) as [Tensor, Tensor, Tensor];
    expect([new Set(new Int8Array(a.bytes())), b.bytes().length, [...new BigInt64Array(c.bytes().slice().buffer)]]).toEqual([
      new Set([-3]),
      4,
      [7n, 7n],
    ]);
  });
});

describe('errors have a place and say what was expected', () => {
  test.each([
    ['graph g() { return }', "1:7: error QC1501: expected '@', found 'g'"],
    ['graph @g(%x: f33[2]) { return %x }', "1:17: error QC1501: 'f33' is not an element type"],
    ['graph @g(%x: f32[2]) {\n  %y = Relu(%z)\n  return %y\n}', '2:13: error QC1501: %z is not defined'],
    ['graph @g(%x: f32[2]) {\n  %x = Relu(%x)\n  return %x\n}', '3:3: error QC1501: %x is already defined'],
    ['graph @g(%x: f32[2]) {\n  %y = Relu(%x\n  return %y\n}', "3:3: error QC1501: expected ')', found 'return'"],
    ['graph @g(%x: f32[2]) {\n  %y = (%x)\n  return %y\n}', "2:8: error QC1501: expected an operator, found '('"],
    ['graph @g(%x: f32[2]) {\n  y = Relu(%x)\n  return %y\n}', "2:3: error QC1501: expected a value such as %x, found 'y'"],
    ['graph @g() { const %k = [1.0] return %k }', '1:25: error QC1501: a constant needs a type'],
    ['graph @g() { const %k: f32[N] = [1.0] return %k }', '1:33: error QC1501: a constant needs a known shape'],
    ['graph @g() { const %k: f32[2] = [1.0] return %k }', '1:39: error QC1501: 2 elements needed, 1 given'],
    ['graph @g() { const %k: f32[1] = [one] return %k }', "1:34: error QC1501: 'one' is not a number"],
    ['graph @g() { const %k: i64[1] = [1.5] return %k }', "1:34: error QC1501: '1.5' is not an integer"],
    ['graph @g() { const %k: i32[1] = [1.5] return %k }', "1:34: error QC1501: '1.5' is not an integer"],
    ['graph @g() { const %k: u8[1] = [256] return %k }', '1:33: error QC1501: 256 does not fit u8'],
    ['graph @g() { const %k: f32[1] = splat x return %k }', "1:41: error QC1501: 'x' is not a number"],
    ['graph @g(%x) { %y = Relu(%x) {a = } return %y }', "1:35: error QC1501: expected a value, found '}'"],
    ['graph @g(%x) { %y = Relu(%x) {a = [1.5]} return %y }', "1:39: error QC1501: '1.5' is not an integer"],
    ['graph @g(%x) { %y = Relu(%x) {a = floats [x]} return %y }', "1:44: error QC1501: 'x' is not a number"],
    ['graph @g(%x) { %y = Relu(%x) {a = word} return %y }', "1:39: error QC1501: 'word' is not a value"],
    ['graph @g(%x) { %y = Relu(%x) {a = "open} return %y }', '1:36: error QC1501: malformed string "'],
    ['graph @g(%x) { return %x } more', "1:28: error QC1501: expected the end of the text, found 'more'"],
    ['graph @g(%x) { return %x', "1:25: error QC1501: expected '}', found 'end of text'"],
    ['', "1:1: error QC1501: expected 'graph', found 'end of text'"],
    ['graph @g(%x) opset onnx latest { return %x }', "1:32: error QC1501: 'latest' is not an integer"],
  ])('%j', (text, message) => expect(errorOf(() => parseGraph(text, { file: 'bad.qcir' }))?.message).toBe(`bad.qcir:${message}`));
  test('but comments and line ends of any kind are skipped', () => {
    const graph = parseGraph('// a comment\r\ngraph @g(%x: f32[2]) { // another\r\n\t%y = Relu(%x) // "third"\r\n return %y }\r\n// last');
    verify(graph);
    expect([...graph.nodes][0]!.loc).toEqual({ kind: 'text', file: '<text>', line: 3, column: 2 });
  });
});

describe('numbers', () => {
  test('are the shortest that read back as the same f32', () => {
    expect([0.1, 1, 1e-5, 16777216, 1 / 3, -2.5e30, 3.4028234663852886e38, -0].map(floatText)).toEqual([
      '0.1',
      '1.0',
      '0.00001',
      '16777216.0',
      '0.33333334',
      '-2.5e+30',
      '3.4028235e+38',
      '-0.0',
    ]);
    fc.assert(
      fc.property(fc.float(), (x) => {
        expect(Math.fround(Number(floatText(x)))).toBe(x);
        expect(floatText(x)).toMatch(/[.e]|Infinity|NaN/);
        expect(Number(doubleText(x))).toBe(x);
      }),
    );
  });
  test('are random in the same way each time, uniform in (-1, 1)', () => {
    const next = random(3);
    const xs = Array.from({ length: 4000 }, next);
    expect(xs.slice(0, 3)).toEqual(Array.from({ length: 3 }, random(3)));
    expect(Math.abs(xs.reduce((a, b) => a + b) / xs.length)).toBeLessThan(0.03);
    expect(xs.every((x) => x > -1 && x < 1)).toBe(true);
  });
  test('the digest is 64-bit FNV-1a', () => {
    const reference = (bytes: Uint8Array): string =>
      bytes
        .reduce((h, b) => ((h ^ BigInt(b)) * 0x100000001b3n) & (2n ** 64n - 1n), 0xcbf29ce484222325n)
        .toString(16)
        .padStart(16, '0');
    expect(digestOf(new Uint8Array())).toBe('cbf29ce484222325');
    fc.assert(fc.property(fc.uint8Array({ maxLength: 50 }), (bytes) => expect(digestOf(bytes)).toBe(reference(bytes))));
  });
});

test('a scalar is a list of one', () => {
  const graph = new Graph('g');
  graph.addOutput(graph.addConstant('k', scalar(2)));
  graph.addOutput(
    graph.addConstant(
      'r',
      generated([2], 'random 1', () => Float32Array.from({ length: 2 }, random(1))),
    ),
  );
  expectRoundTrip(graph);
});
