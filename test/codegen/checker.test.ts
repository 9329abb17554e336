import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, test } from '@jest/globals';
import { targets } from '../../codegen/index.ts';
import { compile, type CompileOptions } from '../../src/compile.ts';
import { scratch } from '../data/arrays.ts';
import { familyPath } from '../support/families.ts';
import { casesPython, noPython, testWithPython } from '../support/python.ts';
import { fixturePath, fixtureSamples, type FixtureName } from '../support/run.ts';

const folder = scratch();
afterAll(() => folder.remove());

const shared = '../shared/cases';
/** Models with local functions, with operators of ONNX Runtime, and with a body: what they are compiled with, where they are at hand. */
const cases = (
  [
    ['09-output-type-lost/model-functions.onnx', 'ids.npz'],
    ['09-output-type-lost/model-skiplayernorm.onnx', 'ids.npz'],
    ['03-if-reads-norm/model-both.onnx', 'calib.npz'],
    ['05-fp16/model.onnx', 'calib.npz'],
  ] as const
).filter(([model]) => existsSync(join(shared, model)));

/** As many as schemes, so that each scheme meets each target when they take turns. */
const fixtures = ['bert-tiny-op17', 'opt-tiny-op13', 'gpt2-tiny-op17'] as const;
const schemes = ['w8a8', 'w4a8', 'w4a16'] as const;
const linesOf = (name: FixtureName): string =>
  fixtureSamples(name, 2)
    .map((s) => {
      const rows = (t: (typeof s)[string]): unknown =>
        t.shape.slice(1).reduceRight<unknown[]>((flat, d) => chunks(flat, d), Array.from(t.data, Number))[0];
      return JSON.stringify(Object.fromEntries(Object.entries(s).map(([input, t]) => [input, [rows(t)]])));
    })
    .join('\n');
const chunks = (flat: readonly unknown[], size: number): unknown[] =>
  Array.from({ length: flat.length / size }, (_, i) => flat.slice(i * size, (i + 1) * size));

type Job = Pick<CompileOptions, 'model' | 'scheme' | 'target' | 'passes' | 'externalData'> & { readonly data: string };

/** Every fixture for every target, with a scheme, with or without transforms, and with data inline or in a side file, in turns. */
function jobs(): readonly Job[] {
  const ofFixtures = fixtures.flatMap((name, i) => {
    const data = folder.file(`${name}.jsonl`, linesOf(name));
    return targets.map((target, j): Job => ({
      model: fixturePath(name),
      data,
      target: target.name,
      scheme: schemes[(i + j) % 3]!,
      passes: (i + j) % 3 === 1 ? 'rptq,os+{threshold=2}' : 'none',
      externalData: i === j % 3 ? 'always' : 'auto',
    }));
  });
  const ofCases = cases.map(([model, data], i): Job => ({
    model: join(shared, model),
    data: join(shared, dirname(model), data),
    target: targets[i % targets.length]!.name,
    scheme: schemes[i % 3]!,
    passes: 'os+{threshold=2}',
    externalData: 'auto',
  }));
  const ofFamilies = ['bert-ortopt', 'llama-dyn23', 'bloom-ts17', 'qwen3-ts17'].map((name, i): Job => ({
    model: familyPath(name),
    data: folder.file('tokens.jsonl', JSON.stringify({ input_ids: Array.from({ length: 12 }, (_, j) => 3 + ((j * 11) % 60)) })),
    target: targets[i % targets.length]!.name,
    scheme: schemes[i % 3]!,
    passes: 'rptq,os+{threshold=2}',
    externalData: 'auto',
  }));
  return [...ofFixtures, ...ofCases, ...ofFamilies];
}

testWithPython(
  `onnx.checker has nothing to say about what compiles write${noPython}`,
  async () => {
    const script = folder.file('none', '');
    const names = new Map<string, string>();
    for (const { data, ...job } of jobs()) {
      const name = `${basename(job.model, '.onnx')} ${job.target} ${job.scheme} ${job.externalData}`;
      const output = join(dirname(script), `${name.replaceAll(' ', '-')}.onnx`);
      const length = data.endsWith('.jsonl') ? {} : { samples: 4 };
      // Checks of ours are of no interest here.
      await compile({ ...job, output, verify: false, data: { files: [data], samples: data.endsWith('tokens.jsonl') ? 1 : 2, ...length } });
      names.set(output, name);
    }
    const { stdout } = await promisify(execFile)(casesPython, ['test/codegen/checker.py', ...names.keys()]);
    const complaints = JSON.parse(stdout) as Readonly<Record<string, string>>;
    expect(Object.entries(complaints).map(([path, words]) => `${names.get(path)}: ${words}`)).toEqual([]);
    expect(names.size).toBeGreaterThanOrEqual(fixtures.length * targets.length);
  },
  600_000,
);

test('the schemes meet every target', () => {
  const met = new Set(fixtures.flatMap((_, i) => targets.map((target, j) => `${target.name} ${schemes[(i + j) % 3]}`)));
  expect(met.size).toBe(targets.length * schemes.length);
});
