import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';

const root = process.cwd();
const { name, files, exports, bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  readonly name: string;
  readonly files: readonly string[];
  readonly exports: Readonly<Record<string, { readonly types: string; readonly default: string }>>;
  readonly bin: Readonly<Record<string, string>>;
};
const entryPoints = Object.keys(exports).map((key) => `${name}${key.slice(1)}`);

const temporary = mkdtempSync(join(tmpdir(), 'qc-package-test-'));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));
/** A project that has installed the package. */
const project = join(temporary, 'project');
const installed = join(project, 'node_modules', name);

const node = (...args: readonly string[]): string =>
  execFileSync(process.execPath, args, { cwd: project, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const tsc = join(root, 'node_modules/typescript/bin/tsc');

/** Packs what `files` names, with a build of its own, and unpacks it into the project; dependencies are those of the repository. */
beforeAll(() => {
  const sources = join(temporary, 'sources');
  const copied = ['package.json', ...files.filter((entry) => entry !== 'dist' && !entry.startsWith('!'))];
  for (const entry of copied)
    cpSync(join(root, entry), join(sources, entry), { recursive: true, filter: (path) => !/kernels\/build/.test(path) });
  for (const folder of ['build', 'build-cuda']) leave(join(sources, 'kernels', folder, 'CMakeCache.txt'));
  execFileSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', '--outDir', join(sources, 'dist')], { cwd: root, stdio: 'pipe' });
  const packed = execFileSync('npm', ['pack', '--ignore-scripts', '--offline', '--silent'], {
    cwd: sources,
    encoding: 'utf8',
    stdio: 'pipe',
  });
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['-xzf', join(sources, packed.trim()), '--strip-components=1', '-C', installed]);
  symlinkSync(join(root, 'node_modules'), join(installed, 'node_modules'));
}, 120_000);

function leave(path: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, '');
}

describe('the package', () => {
  test('holds what it names, and no kernels that were built here', () => {
    for (const { types, default: code } of Object.values(exports))
      for (const file of [types, code]) expect(existsSync(join(installed, file))).toBe(true);
    for (const file of [...Object.values(bin), 'LICENSE', 'README.md', 'docs/methods.md', 'kernels/CMakeLists.txt'])
      expect(existsSync(join(installed, file))).toBe(true);
    for (const folder of ['build', 'build-cuda']) expect(existsSync(join(installed, 'kernels', folder))).toBe(false);
  });

  test('has the licence that package.json says', () => {
    expect(readFileSync(join(installed, 'LICENSE'), 'utf8')).toMatch(/^\s+Apache License\s+Version 2\.0, January 2004\n/);
    expect(JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')).license).toBe('Apache-2.0');
  });

  test('has the command', () => expect(node(join(installed, bin['qc']!), '--version')).toMatch(/^\d+\.\d+\.\d+\n$/));

  // A namespace with an export named `then` is a promise that never settles; top-level await would refuse `require`.
  test.each([
    ['import', '--input-type=module', 'await import'],
    ['require', '--input-type=commonjs', 'require'],
  ])('gives every entry point to %s', (_, kind, load) => {
    const script = `const found = {}; for (const s of ${JSON.stringify(entryPoints)}) found[s] = Object.keys(${load}(s)); console.log(JSON.stringify(found));`;
    const found = JSON.parse(node(kind, '--eval', script)) as Readonly<Record<string, readonly string[]>>;
    expect(Object.keys(found)).toEqual(entryPoints);
    for (const names of Object.values(found)) {
      expect(names.length).toBeGreaterThan(0);
      expect(names).not.toContain('then');
    }
  });
});

describe('kernels of the package', () => {
  interface Outcome {
    readonly code: number | null;
    readonly stdout: string;
    readonly stderr: string;
  }
  const run = (args: readonly string[], more: Readonly<Record<string, string>> = {}): Outcome => {
    const env = { ...process.env, QC_KERNELS: '', ONNXRUNTIME_ROOT: '', NO_COLOR: '1', ...more };
    const command = [join(installed, bin['qc']!), 'kernels', ...args];
    const { status, stdout, stderr } = spawnSync(process.execPath, command, { env, encoding: 'utf8' });
    return { code: status, stdout, stderr };
  };
  const folders = { cpu: join(installed, 'kernels/build'), cuda: join(installed, 'kernels/build-cuda') };
  const library = { cpu: join(folders.cpu, 'libqc_kernels.so'), cuda: join(folders.cuda, 'libqc_kernels_cuda.so') };
  afterEach(() => Object.values(folders).forEach((folder) => rmSync(folder, { recursive: true, force: true })));

  test('are found once they are built', () => {
    for (const device of ['cpu', 'cuda'] as const) {
      const { code, stdout, stderr } = run(['path', device]);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(/QC5008: .*not built\n {2}hint: build it with qc kernels build/);
    }
    for (const file of [library.cpu, join(folders.cpu, 'qc_loader.node'), library.cuda]) leave(file);
    for (const device of ['cpu', 'cuda'] as const)
      expect(run(['path', device])).toEqual({ code: 0, stdout: `${library[device]}\n`, stderr: '' });
  });

  /** Runs `build` where these scripts are the tools of the build; what the real ones compile is tested elsewhere. */
  const build = (tools: Readonly<Record<string, string>>, ...args: readonly string[]): Outcome => {
    const folder = mkdtempSync(join(temporary, 'tools-'));
    for (const [tool, script] of Object.entries(tools)) writeFileSync(join(folder, tool), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    return run(['build', ...args], { PATH: `${folder}:/usr/bin:/bin`, CXX: join(folder, 'g++') });
  };
  const compiles = 'case "$1" in --build) echo compiling; touch build/libqc_kernels.so build/qc_loader.node;; esac';

  test('are built into the folder of the package, from which sessions get them', () => {
    const built = build({ cmake: compiles, 'g++': '' });
    expect(built).toMatchObject({ code: 0, stdout: `${library.cpu}\n`, stderr: expect.stringContaining('compiling\n') });
    expect(run(['path'])).toMatchObject({ code: 0, stdout: built.stdout });
    expect(build({ cmake: compiles, 'g++': '' }, '--quiet')).toEqual({ code: 0, stdout: built.stdout, stderr: '' });
  });

  test('are not built where something is missing, and the error says what', () => {
    expect(build({ cmake: compiles })).toMatchObject({ code: 1, stdout: '', stderr: expect.stringMatching(/QC5009: .*g\+\+ is needed/) });
    const broken = build({ cmake: '[ "$1" = --version ] || { echo no such preset; exit 1; }', 'g++': '' }, '--json');
    expect(broken).toMatchObject({ code: 1, stderr: '' });
    const { error } = JSON.parse(broken.stdout) as { readonly error: { readonly message: string; readonly notes: readonly string[] } };
    expect(error).toMatchObject({ code: 'QC5009', message: expect.stringMatching(/cmake --preset release .*failed$/) });
    expect(error.notes).toContain('no such preset');
    rmSync(folders.cpu, { recursive: true });
    leave(folders.cpu);
    expect(build({ cmake: compiles, 'g++': '' })).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/QC5009: .*kernels\/build cannot be written to/),
    });
  });
});

describe('the types', () => {
  const program = `
import { compile, evaluate, OrtExecutor, type CompileReport } from '${name}';
import { parseGraph, type Graph } from '${name}/ir';
import { passes, type Pass } from '${name}/passes';
import { targets, type Target } from '${name}/codegen';
import { kernels, type Kernels } from '${name}/runtime';
import { checkGolden } from '${name}/testing';

export const report: Promise<CompileReport> = compile({ model: 'in.onnx', output: 'out.onnx', passes: 'os+', data: { files: ['calib.npz'] } });
export const perplexity = evaluate({ model: 'out.onnx', data: { files: ['test.npz'] } }).then((found) => found.perplexity);
export const golden: Promise<void> = checkGolden('pass.qcir', { plugins: [] });
export const executor: OrtExecutor = new OrtExecutor({ threads: 1 });
export const graph: Graph = parseGraph('');
export const known: readonly [readonly Pass[], readonly Target[], Kernels] = [passes, targets, kernels];
`;

  // Node's types declare what ES2022 lacks, such as Symbol.asyncDispose; those of the DOM do not.
  test.each([
    ['@types/node', ['--lib', 'ES2022', '--types', 'node', '--typeRoots', join(root, 'node_modules/@types')]],
    ['the DOM', ['--lib', 'ES2022,DOM', '--types', '']],
  ])('suit a program in TypeScript with ES2022 and the declarations of %s', (_, settings) => {
    writeFileSync(join(project, 'program.mts'), program);
    const strict = [
      '--strict',
      '--exactOptionalPropertyTypes',
      '--skipLibCheck',
      'false',
      '--module',
      'nodenext',
      '--target',
      'ES2022',
      '--noEmit',
    ];
    const { stdout, status } = spawnSync(process.execPath, [tsc, ...strict, ...settings, 'program.mts'], {
      cwd: project,
      encoding: 'utf8',
    });
    expect({ stdout, status }).toEqual({ stdout: '', status: 0 });
  });
});
