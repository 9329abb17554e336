import { readModel } from '../../codegen/index.ts';
import { isKernel } from '../../codegen/kernels/bodies/index.ts';
import { QcError } from '../../ir/diagnostics.ts';
import type { Graph } from '../../ir/graph.ts';
import { eachNode } from '../../ir/walk.ts';
import { openKernels, type KernelSessionOptions, type SessionProviders } from './kernels.ts';

/** How the operators of a model that the library has are computed. */
export interface KernelUse {
  /** How many nodes of the model are such operators. */
  readonly operators: number;
  /** The library's instruction set, such as `avx2`; null when function bodies stand in for it. */
  readonly level: string | null;
}

/** Whether models run on the library where there is one, or never. */
export type KernelChoice = 'auto' | 'off';

/** Without it, ONNX Runtime lets products of unsigned and signed bytes saturate on an x86 that has no VNNI. */
const exactBytes = { session: { x64quantprecision: '1' } } as const;

/** What every session of ours asks for. */
export interface SessionExtras {
  readonly extra: typeof exactBytes & NonNullable<Partial<KernelSessionOptions['extra']>>;
}

/** What to say of a model with this many such operators, and the session options for it. A model without any needs no library. */
export function kernelUse(
  operators: number,
  choice: KernelChoice,
  providers: SessionProviders = {},
): { use: KernelUse | null; options: SessionExtras } {
  // Also when it is not needed: it must come before onnxruntime-node, and the next model may need it.
  const kernels = openKernels();
  if (operators === 0) return { use: null, options: { extra: exactBytes } };
  if (choice === 'off') return { use: { operators, level: null }, options: { extra: exactBytes } };
  return { use: { operators, level: kernels.level }, options: { extra: { ...exactBytes, ...kernels.sessionOptions(providers).extra } } };
}

/** Nodes that are operators of the library, in inner graphs too. */
export function countKernelOperators(graph: Graph): number {
  return [...eachNode(graph)].filter((node) => isKernel(node.op)).length;
}

/** Of a file. One that `qc` cannot read is none that it wrote; ONNX Runtime will say what it thinks of it. */
export function kernelOperatorsIn(path: string): number {
  try {
    return countKernelOperators(readModel(path));
  } catch (error) {
    if (error instanceof QcError) return 0;
    throw error;
  }
}
