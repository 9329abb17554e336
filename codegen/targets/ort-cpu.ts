import { quantizedWeight } from './quantized.ts';
import { lowerToNbits, nbitsRefusal } from './nbits.ts';
import { lowerRest } from './portable.ts';
import { eachNode, type Lowered, type Target } from './target.ts';

/** Stock ONNX Runtime on the CPU: MatMulNBits for weights in blocks, per-tensor QDQ that ORT fuses to integer products. */
export const ortCpu: Target = {
  name: 'ort-cpu',
  summary: 'stock ONNX Runtime on the CPU: MatMulNBits and fused static int8; small and fast',
  operators: new Set(['com.microsoft.MatMulNBits']),
  lower(graph) {
    const report: Lowered[] = [];
    eachNode(graph, ['MatMul'], (node) => {
      if (!quantizedWeight(node.input(1))) return;
      const name = node.name === '' ? node.output.name : node.name;
      const refused = nbitsRefusal(node);
      report.push(refused === null ? { name, done: lowerToNbits(graph, node) } : staticOrLeft(node, name, refused));
    });
    lowerRest(graph, { unsigned: true });
    return report;
  },
};

/** A product with one static 8-bit scale for its whole input is what ORT fuses; anything else runs, but in float. */
function staticOrLeft(node: Parameters<typeof nbitsRefusal>[0], name: string, refused: string): Lowered {
  const input = node.input(0)?.producer;
  const scale = input?.op === 'qc.FakeQuantize' ? input.input(1)?.constant : null;
  const fused = scale?.shape[0] === 1 && isByte(input!) && isByte(node.input(1)!.producer!);
  return fused ? { name, done: 'static int8 that ONNX Runtime fuses' } : { name, left: `runs in float behind QDQ: ${refused}` };
}

function isByte(fake: { readonly attributes: ReadonlyMap<string, { readonly kind: string; readonly value: unknown }> }): boolean {
  return Number(fake.attributes.get('qmax')?.value) === 127;
}
