import { describe, expect, test } from '@jest/globals';
import { parseGraph, traitsOf, type Graph, type Node } from '../../ir/index.ts';
import * as generated from '../../ir/ops/generated.ts';
import * as microsoft from '../../ir/ops/microsoft.ts';
import { operatorsWith } from '../../ir/ops/traits.ts';
import * as qc from '../../ir/ops/qc.ts';
import { attentionFed, attentionsOf, headsOf } from '../../passes/model/attentions.ts';
import { isHead } from '../../passes/model/head.ts';
import { linearsOf } from '../../passes/model/linears.ts';
import { isNorm } from '../../passes/model/norms.ts';
import { hasRole, operators, recordOf } from '../../passes/operators/index.ts';

const graph = (body: string, result = 'y'): Graph => parseGraph(`graph @g(%x: f32[1,N,4]) { ${body} return %${result} }`);
const nodeOf = (body: string): Node => graph(body).last!;

describe('records', () => {
  test('there is one for each operator', () => {
    const names = operators.map((o) => o.op);
    expect(names.filter((op, i) => names.indexOf(op) !== i)).toEqual([]);
  });
  test('operators of records and traits exist', () => {
    const views = [...Object.values(generated), ...Object.values(microsoft), ...Object.values(qc)];
    const known = new Set(views.map((c) => (c as { schema?: { op: string } }).schema?.op));
    const named = [...operators.map((o) => o.op), ...operatorsWith(() => true)].filter((op) => !op.startsWith('com.microsoft.'));
    expect(named.filter((op) => !known.has(op))).toEqual([]);
  });
  test('an operator that nobody knows takes nothing and is nothing', () => {
    expect(recordOf(nodeOf('%y = com.example.Thing(%x)'))).toEqual({});
    expect(traitsOf('constructor')).toEqual({});
  });
  test('a record has the traits of its operator', () => {
    const relu = recordOf(nodeOf('%y = Relu(%x)'));
    expect(relu).toMatchObject({ elementwise: 'homogeneous', tokenwise: true });
    expect(relu.up?.freedom(nodeOf('%y = Relu(%x)'), 4, 0)?.can).toEqual({ perm: true, scale: 'positive', shift: false });
    expect(recordOf(nodeOf('%y = Identity(%x)'))).toEqual({ op: 'Identity', holds: 'all' });
  });
  test('roles are asked of the operator', () => {
    expect(hasRole(nodeOf('%y = Softmax(%x)'), 'softmax')).toBe(true);
    expect(hasRole(nodeOf('%y = Softmax(%x)'), 'attention')).toBe(false);
    expect(hasRole(null, 'norm')).toBe(false);
    expect(isNorm(nodeOf('const %g: f32[4] = random 1 %y = RMSNormalization(%x, %g)'))).toBe(true);
  });
});

describe('the parts of a model', () => {
  const attended = `const %b: f32[4] = random 1 %q = Add(%x, %b) %s = qc.Site(%q) %y = Attention(%s, %x, %x) {kv_num_heads = 1, q_num_heads = 2}`;
  test('an attention is found behind a bias and a site', () => {
    const g = graph(attended);
    const [node] = attentionsOf(g);
    expect(attentionFed([...g.nodes][0]!.output)).toBe(node);
    expect(headsOf(node!)).toEqual({ queries: 2, keys: 1, shared: 2 });
    expect(headsOf(node!, 3)).toBeNull();
  });
  const headed = (after: string): Graph =>
    graph(`const %g: f32[4] = random 1 const %w: f32[4,9] = random 2 const %i: i64[1] = [0] const %f: i64[2] = [-1, 9]
      %n = RMSNormalization(%x, %g) ${after}`);
  test.each([
    ['%y = MatMul(%n, %w)', true],
    ['%l = Gather(%n, %i) {axis = 1} %y = MatMul(%l, %w)', true],
    ['%l = MatMul(%n, %w) %y = Reshape(%l, %f)', true],
    ['%l = MatMul(%n, %w) %y = Gather(%l, %i) {axis = 1}', true],
    ['%l = MatMul(%n, %w) %y = Relu(%l)', false],
    ['%r = Relu(%n) %y = MatMul(%r, %w)', false],
  ])('the head: %s', (after, expected) => {
    const g = headed(after);
    expect(isHead(g, linearsOf(g)[0]!)).toBe(expected);
  });
});
