import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { inTemporary } from '../../src/runtime/machine-faults.ts';
import { refuse, type Failure } from '../../src/runtime/refusal.ts';
import { errorOf } from '../support/run.ts';
import { built, fixture, qc, removeTemporary } from './binary.ts';

const folder = mkdtempSync(join(tmpdir(), 'qc-test-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
  removeTemporary();
});
const at = (name: string): string => join(folder, name);

describe('a fault of the machine is no bug of qc', () => {
  test('a temporary folder that is none: QC5006, exit 1', async () => {
    writeFileSync(at('file'), '');
    for (const [TMPDIR, reason] of [
      [at('nowhere'), 'there is no such folder (ENOENT)'],
      [at('file'), 'it is not a folder (ENOTDIR)'],
    ] as const) {
      const { code, stdout } = await qc(['inspect', fixture('opt-tiny-op13'), '--json'], { env: { TMPDIR } });
      expect({ code, error: JSON.parse(stdout).error }).toMatchObject({
        code: 1,
        error: {
          code: 'QC5006',
          message: `temporary files cannot be written to ${TMPDIR}: ${reason}`,
          hint: expect.stringContaining('TMPDIR'),
        },
      });
    }
  });

  const systemError = (code: string): Error => Object.assign(new Error(code), { code });
  test.each(['ENOSPC', 'EDQUOT', 'EROFS', 'EACCES'])('%s of a temporary file: QC5006', (code) => {
    const use = (): never => {
      throw systemError(code);
    };
    expect(errorOf(() => inTemporary(use))).toMatchObject({ code: 'QC5006' });
  });
  test('what else goes wrong with it stays what it is', () => {
    const use = (): never => {
      throw systemError('ERR_INVALID_ARG_TYPE');
    };
    expect(() => inTemporary(use)).toThrow(systemError('ERR_INVALID_ARG_TYPE'));
  });

  const subject = { name: 'model.onnx', path: 'model.onnx', nodes: new Map() };
  test.each<readonly [string, Failure, string, RegExp]>([
    [
      'a full disk in the process',
      { kind: 'failed', message: 'ENOSPC: no space left on device, write', code: 'ENOSPC' },
      'QC5006',
      /disk is full/,
    ],
    ['no room for a process', { kind: 'unstarted', message: 'spawn node EAGAIN', code: 'EAGAIN' }, 'QC5007', /limit of processes .*EAGAIN/],
    [
      'no room for a thread',
      { kind: 'failed', message: 'pthread_create failed, error code: 11', code: null },
      'QC5007',
      /limit of processes/,
    ],
  ])('%s', (_, failure, code, message) => {
    expect(errorOf(() => refuse(subject, 'load', failure))).toEqual({ code, message: expect.stringMatching(message) });
  });

  test('a process that does not start: QC5007', () => {
    const script = `
      import { OrtExecutor } from 'file://${join(built(), 'src/runtime/ort-executor.js')}';
      process.execPath = '/nowhere/node';
      const executor = new OrtExecutor();
      const twice = () => executor.openFile('${fixture('opt-tiny-op13')}').catch((error) => error.code);
      console.log(await twice(), await twice());
      await executor.close();`;
    const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], { encoding: 'utf8' });
    expect({ stdout, stderr }).toEqual({ stdout: 'QC5007 QC5007\n', stderr: '' });
  });
});

describe('the folder of a run that was killed', () => {
  const inspect = (TMPDIR: string) => qc(['inspect', fixture('opt-tiny-op13')], { env: { TMPDIR } });

  test('is removed by the next run, and that of a run which goes on is not', async () => {
    const home = mkdtempSync(at('home-'));
    const script = `
      const { startTemporaryRoot } = await import('file://${join(built(), 'src/cli/temporary-root.js')}');
      startTemporaryRoot();
      console.log('made');
      setInterval(() => {}, 1000);`;
    const start = async () => {
      const known = readdirSync(home);
      const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
        env: { ...process.env, TMPDIR: home },
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      await new Promise((resolve) => child.stdout.once('data', resolve));
      const [name = ''] = readdirSync(home).filter((name) => !known.includes(name));
      const end = (): Promise<unknown> => {
        const closed = new Promise((resolve) => child.once('close', resolve));
        child.kill('SIGKILL');
        return closed;
      };
      return { folder: join(home, name), end };
    };
    const [killed, living] = [await start(), await start()];
    await killed.end();
    expect([existsSync(killed.folder), existsSync(living.folder)]).toEqual([true, true]);
    expect(await inspect(home)).toMatchObject({ code: 0, stderr: '' });
    expect([existsSync(killed.folder), existsSync(living.folder)]).toEqual([false, true]);
    await living.end();
    await inspect(home);
    expect(readdirSync(home)).toEqual([]);
  });

  test('is known by more than the number of its process', async () => {
    const home = mkdtempSync(at('home-'));
    const make = (name: string, owner: string | null): void => {
      mkdirSync(join(home, name));
      if (owner !== null) writeFileSync(join(home, name, 'owner'), owner);
    };
    const script = `
      const { claim } = await import('file://${join(built(), 'src/cli/leftovers.js')}');
      claim(process.argv[1]);`;
    make('qc-run-gone', null);
    spawnSync(process.execPath, ['--input-type=module', '--eval', script, join(home, 'qc-run-gone')]);
    const gone = JSON.parse(readFileSync(join(home, 'qc-run-gone/owner'), 'utf8'));
    make('qc-run-number-in-use', JSON.stringify({ ...gone, pid: process.pid }));
    make('qc-run-elsewhere', JSON.stringify({ ...gone, host: 'elsewhere' }));
    make('qc-run-container', JSON.stringify({ ...gone, namespace: 'pid:[1]' }));
    make('qc-run-nobody', null);
    make('qc-run-damaged', '{');
    writeFileSync(join(home, 'qc-run-file'), '');
    make('other', JSON.stringify(gone));
    expect(await inspect(home)).toMatchObject({ code: 0, stderr: '' });
    const kept = ['other', 'qc-run-container', 'qc-run-damaged', 'qc-run-elsewhere', 'qc-run-file', 'qc-run-nobody'];
    expect(readdirSync(home).sort()).toEqual(kept);
  });
});
