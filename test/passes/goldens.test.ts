import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { afterAll, describe, test } from '@jest/globals';
import { checkGolden, goldensIn } from '../support/golden.ts';
import { plainExecutor } from '../support/run.ts';

const executor = plainExecutor();
afterAll(() => executor.close());

const folders = ['test/passes', 'test/targets'].flatMap((top) =>
  existsSync(top) ? readdirSync(top, { withFileTypes: true }).flatMap((d) => (d.isDirectory() ? join(top, d.name) : [])) : [],
);

describe.each(folders.filter((f) => goldensIn(f).length > 0))('%s', (folder) => {
  test.each(goldensIn(folder).map((path) => [basename(path, '.qcir'), path] as const))('%s', (_, path) => checkGolden(path, executor));
});
