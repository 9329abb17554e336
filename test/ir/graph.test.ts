import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { cloneGraph, eraseDead, Graph, Node, parseGraph, printGraph, tensorType, verify, type Value } from '../../ir/index.ts';
import { errorOf, valueNamed } from '../support/run.ts';

const type = tensorType('f32', [2]);
const relu = (x: Value, name: string): Node => new Node({ op: 'Relu', inputs: [x], results: [{ name, type }] });
/** x -> a -> b -> c. */
function chain(length = 3): { readonly graph: Graph; readonly nodes: Node[] } {
  const graph = new Graph('chain');
  let at = graph.addInput('x', type);
  const nodes = Array.from({ length }, (_, i) => {
    const node = graph.append(relu(at, String.fromCharCode(97 + i)));
    at = node.output;
    return node;
  });
  graph.addOutput(at);
  return { graph, nodes };
}
const names = (graph: Graph): string => [...graph.nodes].map((n) => n.output.name).join(' ');

describe('a walk over the nodes', () => {
  test('goes on when the current node is erased', () => {
    const { graph } = chain();
    const seen: string[] = [];
    for (const node of graph.nodes) {
      if (node.op !== 'Relu') continue;
      seen.push(node.output.name);
      graph.replaceUses(node.output, node.input(0)!);
      graph.erase(node);
    }
    expect(seen).toEqual(['a', 'b', 'c']);
    // The caller gets x under the name of what it replaces.
    expect(printGraph(graph)).toBe('graph @chain(%x: f32[2]) {\n  %c: f32[2] = Identity(%x)\n  return %c\n}\n');
  });
  test('goes on when the current node and the ones after it are erased', () => {
    const { graph, nodes } = chain(5);
    const seen: string[] = [];
    for (const node of graph.nodes) {
      seen.push(node.output.name);
      if (node !== nodes[1]) continue;
      for (const gone of nodes.slice(1, 4).toReversed()) {
        graph.replaceUses(gone.output, gone.input(0)!);
        graph.erase(gone);
      }
    }
    expect(seen).toEqual(['a', 'b', 'e']);
    verify(graph);
  });
  test('visits what is inserted after the current node, not what is inserted before it', () => {
    const { graph, nodes } = chain(2);
    const seen: string[] = [];
    for (const node of graph.nodes) {
      seen.push(node.output.name);
      if (node !== nodes[0]) continue;
      graph.insertBefore(node, relu(graph.inputs[0]!, 'before'));
      graph.insertAfter(node, relu(graph.inputs[0]!, 'after'));
    }
    expect(seen).toEqual(['a', 'after', 'b']);
    expect(names(graph)).toBe('before a after b');
  });
  test('keeps the list whole under any series of insertions and erasures', () =>
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(3), fc.nat(20)), { maxLength: 40 }), (steps) => {
        const graph = new Graph('random');
        const x = graph.addInput('x', type);
        const model: Node[] = [];
        for (const [kind, where] of steps) {
          const at = model.length === 0 ? null : model[where % model.length]!;
          const node = relu(x, graph.freshName('n'));
          if (kind === 3 && at) {
            graph.erase(at);
            model.splice(model.indexOf(at), 1);
            for (const use of node.operands) graph.setInput(node, use.index, null);
          } else if (kind === 0 || !at) model.push(graph.append(node));
          else if (kind === 1) model.splice(model.indexOf(at), 0, graph.insertBefore(at, node));
          else model.splice(model.indexOf(at) + 1, 0, graph.insertAfter(at, node));
        }
        expect([...graph.nodes]).toEqual(model);
        expect([graph.size, graph.last]).toEqual([model.length, model.at(-1) ?? null]);
        expect(x.uses.size).toBe(model.length);
        verify(graph);
      }),
    ));
  test('prepend puts a node in front of all others', () => {
    const { graph } = chain(1);
    graph.prepend(relu(graph.inputs[0]!, 'first'));
    expect(names(graph)).toBe('first a');
  });
});

describe('uses', () => {
  test('follow setInput', () => {
    const { graph, nodes } = chain();
    const [a, , c] = nodes as [Node, Node, Node];
    graph.setInput(c, 0, a.output);
    expect([...a.output.uses].map((u) => u.node.output.name)).toEqual(['b', 'c']);
    expect(nodes[1]!.output.uses.size).toBe(0);
    expect(a.output.soleUse).toBeNull();
    graph.setInput(c, 0, null);
    expect(a.output.soleUse?.node).toBe(nodes[1]);
  });
  test('and graph outputs follow replaceUses, except where told otherwise', () => {
    const { graph, nodes } = chain(2);
    const extra = graph.append(relu(nodes[1]!.output, 'extra'));
    graph.replaceUses(nodes[1]!.output, extra.output, extra);
    expect(graph.outputs).toEqual([extra.output]);
    expect(nodes[1]!.output.soleUse?.node).toBe(extra);
  });
  test('of an erased node are gone', () => {
    const { graph, nodes } = chain(2);
    graph.replaceUses(nodes[1]!.output, graph.inputs[0]!);
    graph.erase(nodes[1]!);
    expect(nodes[0]!.output.uses.size).toBe(0);
  });
  test('inside the body of an erased node are gone', () => {
    const graph = parseGraph(`graph @g(%x: f32[2], %c: bool) {
      %y = If(%c) {then_branch = graph @t() { %a = Relu(%x) return %a }, else_branch = graph @e() { %b = Neg(%x) return %b }}
      %z = Abs(%x)
      return %z
    }`);
    const [branch] = [...graph.nodes];
    expect(graph.inputs[0]!.uses.size).toBe(3);
    graph.erase(branch!);
    expect(graph.inputs[0]!.uses.size).toBe(1);
    expect(graph.inputs[1]!.uses.size).toBe(0);
  });
  test('each mutation bumps the version', () => {
    const { graph, nodes } = chain(2);
    const steps: (() => void)[] = [
      () => graph.setInput(nodes[1]!, 0, graph.inputs[0]!),
      () => graph.erase(nodes[0]!),
      () => graph.rename(nodes[1]!.output, 'other'),
      () => graph.addOutput(graph.inputs[0]!),
      () => graph.setOutputs([nodes[1]!.output]),
      () => void graph.addInput('more', type),
      () => graph.eraseInput(valueNamed(graph, 'more')),
    ];
    for (const step of steps) {
      const before = graph.version;
      step();
      expect(graph.version).toBeGreaterThan(before);
    }
  });
  test('but a type does not: it says what the graph computes and changes nothing', () => {
    const { graph, nodes } = chain(1);
    const before = graph.version;
    graph.setType(nodes[0]!.output, { dtype: 'f32', shape: [3] });
    expect(nodes[0]!.output.type).toEqual({ dtype: 'f32', shape: [3] });
    expect(graph.version).toBe(before);
  });
  test('a walk over outputs sees those that were there when it began', () => {
    const { graph, nodes } = chain(2);
    const seen = graph.outputs;
    graph.setOutputs([nodes[0]!.output, nodes[1]!.output]);
    expect(seen).toEqual([nodes[1]!.output]);
  });
});

describe('what is in use cannot be erased', () => {
  test('a node, a constant, an input, a graph output', () => {
    const graph = parseGraph('graph @g(%x: f32[2]) { const %k: f32[2] = [1.0, 2.0] %a = Add(%x, %k) %b = Relu(%a) return %b }');
    const [a, b] = [...graph.nodes] as [Node, Node];
    expect(errorOf(() => graph.erase(a))?.message).toContain('error QC1002: cannot erase Add: %a is still used');
    expect(errorOf(() => graph.erase(b))?.code).toBe('QC1002');
    expect(errorOf(() => graph.eraseConstant(valueNamed(graph, 'k')))?.message).toBe(
      'error QC1002: cannot erase constant %k: it is still used',
    );
    expect(errorOf(() => graph.eraseInput(graph.inputs[0]!))?.code).toBe('QC1002');
  });
  test('a node has the operands it was made with', () => {
    const { graph, nodes } = chain(1);
    expect(errorOf(() => graph.setInput(nodes[0]!, 1, null))?.message).toBe('error QC1001: Relu has no operand 1');
  });
});

describe('a node beside another one', () => {
  test('belongs to the graph of that one', () => {
    const graph = parseGraph(`graph @g(%x: f32[2], %c: bool) {
      %y = If(%c) {then_branch = graph @t() { %a = Relu(%x) return %a }, else_branch = graph @e() { %b = Neg(%x) return %b }}
      return %y
    }`);
    const body = [...graph.nodes][0]!.bodies[0]!;
    const inner = [...body.nodes][0]!;
    expect(errorOf(() => graph.insertAfter(inner, relu(graph.inputs[0]!, 'lost')))?.code).toBe('QC1001');
    graph.replaceUses(inner.output, body.insertAfter(inner, relu(graph.inputs[0]!, 'kept')).output);
    expect(body.outputs.map((v) => v.name)).toEqual(['a']);
    expect(inner.output.uses.size).toBe(0);
  });
});

describe('names', () => {
  test('that are fresh do not grow', () => {
    const graph = new Graph('g');
    for (let i = 0; i < 5; i++) graph.addInput(graph.freshName(graph.inputs.at(-1)?.name ?? 'h'), type);
    expect(graph.inputs.map((v) => v.name)).toEqual(['h', 'h_1', 'h_2', 'h_3', 'h_4']);
    expect(graph.freshName('h_2')).toBe('h_5');
    expect(graph.freshName('h_7')).toBe('h_7');
  });
  test('are free again when their value is gone', () => {
    const { graph, nodes } = chain(2);
    graph.replaceUses(nodes[0]!.output, graph.inputs[0]!);
    graph.erase(nodes[0]!);
    expect(graph.isNameTaken('a')).toBe(false);
  });
  test('of bodies and the graphs around them do not meet', () => {
    const graph = parseGraph(
      'graph @g(%x: f32[2], %c: bool) { %y = If(%c) {then_branch = graph @t() { %a = Relu(%x) return %a }, else_branch = graph @e() { %b = Neg(%x) return %b }} return %y }',
    );
    expect(graph.freshName('a')).toBe('a_1');
    expect([...graph.nodes][0]!.bodies[0]!.freshName('y')).toBe('y_1');
  });
  test('replace hands the name on', () => {
    const { graph, nodes } = chain();
    const b = nodes[1]!;
    const better = graph.insertBefore(b, relu(nodes[0]!.output, 'better'));
    graph.replace(b.output, better.output);
    expect([better.output.name, valueNamed(graph, 'c').producer!.input(0)]).toEqual(['b', better.output]);
    eraseDead(graph);
    expect(names(graph)).toBe('a b c');
    verify(graph);
  });
  test('of outputs stay when two become one value', () => {
    const { graph, nodes } = chain(2);
    graph.addOutput(nodes[0]!.output);
    graph.replaceUses(nodes[1]!.output, nodes[0]!.output);
    eraseDead(graph);
    expect(graph.outputs.map((v) => [v.name, v.producer!.op])).toEqual([
      ['b', 'Identity'],
      ['a', 'Relu'],
    ]);
    verify(graph);
  });
  test('replace keeps the name of a graph output that an input now feeds', () => {
    const { graph, nodes } = chain(1);
    graph.replace(nodes[0]!.output, graph.inputs[0]!);
    eraseDead(graph);
    expect(printGraph(graph)).toBe('graph @chain(%x: f32[2]) {\n  %a: f32[2] = Identity(%x)\n  return %a\n}\n');
    verify(graph);
  });
});

describe('a clone', () => {
  const text = `graph @g(%x: f32[2], %c: bool) {
  const %k: f32[2] = [1.0, 2.0]
  %s: f32[2] = Add(%x, %k)
  %y: f32[2] = If(%c) {else_branch = graph @e() {
    %b = Neg(%s)
    return %b
  }, then_branch = graph @t() {
    %a = Relu(%x)
    return %a
  }}
  return %y
}
`;
  test('prints the same, shares tensors, and no node or value', () => {
    const graph = parseGraph(text);
    const copy = cloneGraph(graph);
    expect(printGraph(copy)).toBe(text);
    verify(copy);
    expect(valueNamed(copy, 'k').constant).toBe(valueNamed(graph, 'k').constant);
    const values = (g: Graph): Set<Value> => new Set([...g.inputs, ...g.constants, ...[...g.nodes].flatMap((n) => n.outputs)]);
    for (const v of values(copy)) expect(values(graph).has(v)).toBe(false);
  });
  test('changes alone, its bodies too', () => {
    const graph = parseGraph(text);
    const copy = cloneGraph(graph);
    const body = [...copy.nodes][1]!.bodies[0]!;
    body.setInput([...body.nodes][0]!, 0, copy.inputs[0]!);
    expect(printGraph(graph)).toBe(text);
    expect(printGraph(copy)).not.toBe(text);
  });
});

test('dead code goes back to front, constants last', () => {
  const graph = parseGraph('graph @g(%x: f32[2]) { const %k: f32[2] = [1.0, 2.0] %a = Add(%x, %k) %b = Relu(%a) %y = Neg(%x) return %y }');
  expect(eraseDead(graph)).toBe(3);
  expect(printGraph(graph)).toBe('graph @g(%x: f32[2]) {\n  %y = Neg(%x)\n  return %y\n}\n');
});
