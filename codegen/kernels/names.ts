import { kernelNames, kernelOperators } from './operators.ts';

/** The operator that a name stands for: `ClusterMatMul` of `ClusterMatMul_3`. */
export function kernelNamed(opType: string): string {
  const [, base = '', number = ''] = /^(\w+?)_(\d+)$/.exec(opType) ?? [];
  return Object.hasOwn(kernelOperators, base) && Number(number) < kernelNames ? base : opType;
}

/** The name of the call of this number among those with other bodies; null beyond the last that the library knows. */
export const nameOfCall = (opType: string, index: number): string | null =>
  index === 0 ? opType : index < kernelNames ? `${opType}_${index}` : null;
