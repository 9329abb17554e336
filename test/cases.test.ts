import { execFile } from 'node:child_process';
import { cpSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { built, removeTemporary, root } from './cli/binary.ts';
import { casesPython, noPython } from './support/python.ts';

/** Public bug reports as small models, each with a script that judges what becomes of it; kept beside the repository. */
const folder = join(root, '../shared/cases');
const names = existsSync(folder) ? readdirSync(folder).filter((name) => existsSync(join(folder, name, 'cmd.sh'))) : [];
const missing = names.length > 0 ? noPython : ` (skipped: there is no ${folder})`;

interface Verdicts {
  readonly code: number;
  /** Lines of wrong results; all that was said where no line says that. */
  readonly wrong: readonly string[];
}

/** A build of our own: other test files remove builds that are older than a run of all cases takes. */
const build = join(root, 'out', `cases-${process.pid}`);
function binary(): string {
  if (!existsSync(build)) cpSync(built(), build, { recursive: true });
  return join(build, 'src/cli/main.js');
}

function judged(name: string): Promise<Verdicts> {
  const qc = `${process.execPath} ${binary()}`;
  const env = { ...process.env, NO_COLOR: '1', PY: casesPython, QC: qc };
  return new Promise((resolve) => {
    execFile('bash', [join(folder, name, 'cmd.sh')], { cwd: root, env }, (error, stdout, stderr) => {
      const said = `${stdout}${stderr}`.split('\n');
      const wrong = said.filter((line) => line.startsWith('WRONG'));
      resolve({ code: error ? Number(error.code ?? 1) : 0, wrong: error && wrong.length === 0 ? said : wrong });
    });
  });
}

afterAll(() => {
  removeTemporary();
  rmSync(build, { recursive: true, force: true });
});

// Each takes a minute or two of both cores, so .ci/run has a step of its own for them.
describe(`cases from public reports${missing}`, () => {
  if (missing !== '') test.skip('every case is judged right', () => {});
  else test.concurrent.each(names)('%s', async (name) => expect(await judged(name)).toEqual({ code: 0, wrong: [] }), 1_800_000);
});
