import { spawn } from 'node:child_process';
import { accessSync, constants, mkdirSync } from 'node:fs';
import { arch, platform } from 'node:os';
import { dirname, join } from 'node:path';
import { fail } from '../../../ir/index.ts';
import { packageRoot } from '../../package-root.ts';
import { builtLibrary, findKernelFiles, notBuilt, supported, type KernelDevice } from '../../runtime/kernel-files.ts';
import type { Io } from '../command.ts';

/** Prints the path of the library that sessions use; QC5008 when there is none. */
export async function kernelPathCommand(device: KernelDevice, io: Io): Promise<void> {
  const found = findKernelFiles({ wish: process.env['QC_KERNELS'], platform: here, root: packageRoot() });
  if (typeof found === 'string') return missing(device, found);
  give(device, (device === 'cpu' ? found.library : found.cuda) ?? missing(device, notBuilt), io);
}

/** Builds the library and prints its path; QC5009 when that is not possible. */
export async function buildKernelsCommand(device: KernelDevice, io: Io): Promise<void> {
  if (here !== supported) cannotBuild(`there are none for ${here}, only for ${supported}`);
  const library = builtLibrary(packageRoot(), device);
  makeFolder(dirname(library));
  await runBuild(device, io);
  give(device, library, io);
}

const here = `${platform()} ${arch()}`;

function give(device: KernelDevice, library: string, { terminal }: Io): void {
  if (terminal.json) terminal.document({ device, library });
  else terminal.data(library);
}

const missing = (device: KernelDevice, why: string): never =>
  fail('QC5008', `there is no library of kernels for ${device}: ${why}`, undefined, why === notBuilt ? { hint: howToBuildIt[device] } : {});

const howToBuildIt: Readonly<Record<KernelDevice, string>> = {
  cpu: 'build it with qc kernels build',
  cuda: 'build it with qc kernels build cuda',
};

const cannotBuild = (why: string, notes: readonly string[] = []): never =>
  fail('QC5009', `the kernels cannot be built: ${why}`, undefined, { notes, hint: 'models run on their function bodies without them' });

/** Makes the folder of the build, so that a package that cannot be written to is refused before any work. */
function makeFolder(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true });
    accessSync(folder, constants.W_OK);
  } catch (error) {
    cannotBuild(`${folder} cannot be written to (${error instanceof Error ? error.message : String(error)})`);
  }
}

/** The library for GPUs stands beside the one for the CPU, which has the loader. */
const presets: Readonly<Record<KernelDevice, readonly string[]>> = { cpu: ['release'], cuda: ['release', 'cuda'] };

/** Runs the script that the repository also uses. What it prints goes to stderr, or into the error where nothing else is said. */
async function runBuild(device: KernelDevice, { terminal, signal }: Io): Promise<void> {
  const script = join(packageRoot(), 'scripts/build-kernels.mjs');
  const child = spawn(process.execPath, [script, '--required', ...presets[device]], { stdio: ['ignore', 'pipe', 'pipe'], signal });
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (terminal.talks) process.stderr.write(text);
    });
  const code = await new Promise((resolve, reject) => child.on('error', reject).on('close', resolve));
  const lines = said.trim().split('\n');
  if (code !== 0) cannotBuild(lines.at(-1)!.replace(/^build:kernels: /, ''), terminal.talks ? [] : lines.slice(-shownLines, -1));
}

const shownLines = 20;
