import { statfsSync } from 'node:fs';
import { arch, availableParallelism, freemem, platform, tmpdir, totalmem } from 'node:os';
import { dirname } from 'node:path';
import { parseGraph } from '../../../ir/index.ts';
import { runOnce, type Feeds, type HostTensor } from '../../../passes/index.ts';
import { howToBuild, notBuilt } from '../../runtime/kernel-files.ts';
import { hasCudaProvider, installedRuntime } from '../../runtime/installation.ts';
import { openKernels } from '../../runtime/kernels.ts';
import { OrtExecutor } from '../../runtime/ort-executor.ts';
import type { Io } from '../command.ts';
import { bytesText } from '../tables.ts';

/** One thing that was looked at. */
export interface Check {
  readonly name: string;
  readonly status: 'ok' | 'warn' | 'fail';
  readonly found: string;
  /** What to do when it is not ok. */
  readonly advice: string | null;
}

type Finding = Omit<Check, 'name'>;

/** Looks at everything, prints it, and gives 1 if something needed fails. */
export async function doctorCommand({ terminal }: Io): Promise<number> {
  const checks: Check[] = [];
  for (const [name, look] of Object.entries(looks)) checks.push({ name, ...(await looked(look)) });
  const ok = checks.every((c) => c.status !== 'fail');
  if (terminal.json) terminal.document({ ok, checks });
  else terminal.data(checks.map((c) => checkText(c, terminal.color)).join('\n'));
  return ok ? 0 : 1;
}

const ok = (found: string): Finding => ({ status: 'ok', found, advice: null });
const warn = (found: string, advice: string): Finding => ({ status: 'warn', found, advice });
const failed = (found: string, advice: string): Finding => ({ status: 'fail', found, advice });

async function looked(look: () => Finding | Promise<Finding>): Promise<Finding> {
  try {
    return await look();
  } catch (error) {
    return failed(error instanceof Error ? error.message : String(error), 'reinstall qc with npm ci; DEBUG=qc* shows more');
  }
}

const gigabyte = 1e9;
const reinstall = 'reinstall the dependencies: npm ci';

const looks: Readonly<Record<string, () => Finding | Promise<Finding>>> = {
  node() {
    const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
    const fits = major > 20 || (major === 20 && minor >= 19);
    return fits ? ok(process.version) : failed(process.version, 'qc needs Node 20.19 or later');
  },
  platform: () => ok(`${platform()} ${arch()}`),
  cores: () => ok(String(availableParallelism())),
  memory() {
    const found = `${bytesText(freemem())} free of ${bytesText(totalmem())}`;
    return freemem() < gigabyte ? warn(found, 'calibration holds about 256 MB of weights and the activations of one sample') : ok(found);
  },
  'temporary folder'() {
    const { bavail, bsize } = statfsSync(tmpdir());
    const found = `${bytesText(bavail * bsize)} free in ${dirname(tmpdir())}`;
    const enough = bavail * bsize >= 2 * gigabyte;
    return enough ? ok(found) : warn(found, 'activations and copies of the model lie there; set TMPDIR to a larger disk');
  },
  // Before anything that loads onnxruntime-node.
  kernels() {
    const { library, level, missing, problem } = openKernels();
    if (problem) return failed(missing ?? '', problem.diagnostics[0]?.hint ?? howToBuild);
    if (library !== null) return ok(`${library}, on ${level}`);
    const advice = 'compiled models run on their slow function bodies; qc kernels build builds the library';
    return missing === notBuilt ? warn(notBuilt, advice) : ok(`none: ${missing}`);
  },
  async 'onnxruntime-node'() {
    const { version, backends } = await installedRuntime();
    const found = `${version}, backends: ${backends.join(', ')}`;
    return backends.includes('cpu') ? ok(found) : failed(found, reinstall);
  },
  async 'run in a process'() {
    const y = await resultOf('graph @doctor(%x: f32[2]) { %y: f32[2] = Relu(%x) return %y }', {
      x: { dtype: 'f32', shape: [2], data: Float32Array.of(-1, 2) },
    });
    const right = y?.data[0] === 0 && y.data[1] === 2;
    return right ? ok('a child process ran a session of one node') : failed('a session of one node gave wrong results', reinstall);
  },
  async 'run on kernels'() {
    if (openKernels().library === null) return ok('nothing to run');
    const y = await resultOf(dequantize, { codes: { dtype: 'u8', shape: [1, 32], data: new Uint8Array(32).fill(128 + 7) } });
    const right = y?.data instanceof Float32Array && y.data.length === 32 && y.data.every((x) => x === (7 - 1) * 0.5);
    return right ? ok('a session of one of their operators ran') : failed('one of their operators gave wrong results', howToBuild);
  },
  async tokenizers() {
    await import('@huggingface/tokenizers');
    return ok('@huggingface/tokenizers loads');
  },
  cuda() {
    const provider = hasCudaProvider() ? 'the CUDA provider is installed; qc does not need it' : 'no CUDA provider; qc runs on the CPU';
    const { cuda } = openKernels();
    return ok(cuda === null ? provider : `${provider}; kernels for it: ${cuda}`);
  },
};

/** 32 codes of 8 bits with scale 0.5 and zero point 1. */
const dequantize = `graph @kernels(%codes: u8[1,32]) {
  const %scale: f32[1] = [0.5]
  const %zero: f32[1] = [1.0]
  %y: f32[1,32] = qc.DequantizeClusters(%codes, %scale, %zero) {bits = 8, groups = [32]}
  return %y
}
`;

/** What a graph gives as `y`. */
async function resultOf(text: string, feeds: Feeds): Promise<HostTensor | undefined> {
  const executor = new OrtExecutor({ threads: 1 });
  try {
    return (await runOnce(executor, parseGraph(text), feeds))['y'];
  } finally {
    await executor.close();
  }
}

function checkText({ name, status, found, advice }: Check, { green, yellow, red }: Io['terminal']['color']): string {
  const paint = { ok: green, warn: yellow, fail: red }[status];
  return `${paint(status.padEnd(5))}${name.padEnd(18)}${found}${advice === null ? '' : `\n     ${''.padEnd(18)}${advice}`}`;
}
