import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { arch, platform } from 'node:os';
import { dirname, join } from 'node:path';
import { openKernels } from './kernels.ts';

/** What is installed of ONNX Runtime. */
export interface Installation {
  readonly version: string;
  readonly backends: readonly string[];
}

/** Loads onnxruntime-node into this process and asks it what it is; throws if it does not load. */
export async function installedRuntime(): Promise<Installation> {
  openKernels();
  const { env, listSupportedBackends } = await import('onnxruntime-node');
  return { version: env.versions.node ?? 'unknown version', backends: listSupportedBackends().map((b) => b.name) };
}

/** Whether the CUDA provider lies beside the runtime. */
export function hasCudaProvider(): boolean {
  const entry = createRequire(import.meta.url).resolve('onnxruntime-node');
  return existsSync(join(dirname(entry), '..', 'bin', 'napi-v6', platform(), arch(), 'libonnxruntime_providers_cuda.so'));
}
