import { readFileSync } from 'node:fs';

export interface Port {
  readonly name: string;
  readonly type: string;
  readonly shape: string;
  readonly optional?: boolean;
  /** What its values must be. */
  readonly doc?: string;
}

export interface Operator {
  readonly name: string;
  readonly summary: string;
  readonly equations: readonly string[];
  readonly inputs: readonly Port[];
  readonly outputs: readonly Port[];
  readonly attributes: readonly string[];
}

export interface AttributeEntry {
  readonly kind: string;
  readonly values?: readonly (number | string)[];
  readonly doc: string;
}

export interface Manifest {
  readonly domain: string;
  readonly version: number;
  readonly step: number;
  readonly tile: number;
  readonly names: number;
  readonly types: Readonly<Record<string, readonly string[]>>;
  readonly operators: readonly Operator[];
  readonly attributes: Readonly<Record<string, AttributeEntry>>;
}

/** What the type parameter of an operator stands for. */
export function typesOf({ types }: Manifest): string {
  const all = types['T']!;
  return `${all.slice(0, -1).join(', ')} or ${all.at(-1)}`;
}

/** `kernels/operators.json`, the one place that says what the operators of the kernel library are. */
export const readManifest = (): Manifest =>
  JSON.parse(readFileSync(new URL('../kernels/operators.json', import.meta.url), 'utf8')) as Manifest;
