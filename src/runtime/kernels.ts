import { arch, platform } from 'node:os';
import { QcError } from '../../ir/diagnostics.ts';
import { packageRoot } from '../package-root.ts';
import { findKernelFiles } from './kernel-files.ts';
import { loadKernels } from './loader.ts';

/** What registers the library with a session, as options of `InferenceSession.create`. */
export interface KernelSessionOptions {
  readonly extra?: { readonly qc: { readonly kernels: string } };
}

/** The library of operators for models that `qc` compiled; without it they run on the function bodies that they carry. */
export interface Kernels {
  /** The path of the library; null when there is none, or none that works. */
  readonly library: string | null;
  /** The path of the library for sessions on CUDA; null when there is none, or when it is that of all sessions. */
  readonly cuda: string | null;
  /** The addon by which sessions of onnxruntime-node get it. */
  readonly loader: string | null;
  /** The instruction set on which it runs here, such as `avx2`. */
  readonly level: string | null;
  /** Why there is no library. */
  readonly missing: string | null;
  /** QC5003 when onnxruntime-node was loaded before, QC5004 when the library does not load. */
  readonly problem: QcError | null;
  /** To be spread into options of `InferenceSession.create`; empty when there is no library. Throws the problem, if there is one. */
  sessionOptions(options?: SessionProviders): KernelSessionOptions;
}

/** The part of a session's options that says which library it needs. */
export interface SessionProviders {
  readonly executionProviders?: readonly (string | { readonly name: string })[];
}

const wantsCuda = ({ executionProviders = [] }: SessionProviders): boolean =>
  executionProviders.some((p) => (typeof p === 'string' ? p : p.name) === 'cuda');

let opened: Kernels | null = null;

/** Loads the library, unless that is done, for sessions of all threads. It must come before onnxruntime-node, and does not throw. */
export const openKernels = (): Kernels => (opened ??= open());

function open(): Kernels {
  const without = { library: null, cuda: null, loader: null, level: null };
  try {
    const found = findKernelFiles({ wish: process.env['QC_KERNELS'], platform: `${platform()} ${arch()}`, root: packageRoot() });
    if (typeof found === 'string') return { ...without, missing: found, problem: null, sessionOptions: () => ({}) };
    const sessionOptions = (options: SessionProviders = {}): KernelSessionOptions => ({
      extra: { qc: { kernels: wantsCuda(options) ? (found.cuda ?? found.library) : found.library } },
    });
    return { ...found, level: loadKernels(found), missing: null, problem: null, sessionOptions };
  } catch (error) {
    if (!(error instanceof QcError)) throw error;
    const sessionOptions = (): never => {
      throw error;
    };
    return { ...without, missing: error.diagnostics[0]!.message, problem: error, sessionOptions };
  }
}
