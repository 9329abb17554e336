import { afterAll, describe, expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { formatType, isDType, sizeOf } from '../../ir/types.ts';
import { modelInputs, roleOf, type ModelInput, type ModelInputs } from '../../src/data/inputs.ts';
import { loadSamples, type Sample } from '../../src/data/samples.ts';
import type { TextTokenizer } from '../../src/data/tokenizer.ts';
import { qc, removeTemporary } from '../cli/binary.ts';
import { npy, scratch, zip } from './arrays.ts';

const folder = scratch();
afterAll(() => {
  folder.remove();
  removeTemporary();
});

const page = readFileSync('docs/data.md', 'utf8');

function blockOf(language: string): string {
  const block = new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'ms').exec(page)?.[1];
  if (block === undefined) throw new Error(`docs/data.md has no block of ${language}`);
  return block;
}

/** The rows of the table whose head starts with this cell. */
function tableOf(head: string): readonly (readonly string[])[] {
  const table = page.slice(page.indexOf(`\n| ${head} |`) + 1).split('\n\n')[0]!;
  const rows = table.trim().split('\n').slice(2);
  return rows.map((row) =>
    row
      .slice(1, -1)
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim().replaceAll('\\|', '|')),
  );
}

const numbersIn = (sample: Sample, name: string): string => Array.from(sample[name]!.data, Number).join(', ');

/** The inputs of the example. */
const inputs: ModelInputs = modelInputs(
  blockOf('inputs')
    .trim()
    .split('\n')
    .map((line): ModelInput => {
      const [, name = '', dtype = '', dims = ''] = /^(.+): (\w+)\[(.*)\]$/.exec(line) ?? [];
      if (!isDType(dtype)) throw new Error(`no element type in ${line}`);
      return { name, dtype, shape: dims.split(',') };
    }),
);

const words: TextTokenizer = { encode: (text) => text.split(' ').map((word) => ['', 'to', 'be', 'or', 'not'].indexOf(word)) };

describe('docs/data.md', () => {
  test('names the inputs by which the code finds them', () => {
    const [input, ...others] = tableOf('input').map(
      ([role, names]) => [role!, [...names!.matchAll(/`([^`]+)`/g)].map((m) => m[1]!)] as const,
    );
    expect(input).toEqual(['tokens', ['input_ids']]);
    const roles = { mask: 'mask', positions: 'positions', 'token types': 'token-types', caches: 'cache', branch: 'cache-branch' };
    expect(others.map(([role]) => role)).toEqual(Object.keys(roles));
    for (const [role, names] of others)
      for (const name of names) {
        const dtype = role === 'caches' ? 'f32' : 'i64';
        const found = roleOf({ name, dtype, shape: null }, inputs);
        expect([name, found]).toEqual([name, roles[role as keyof typeof roles]]);
      }
  });

  test('shows the samples that its lines give', async () => {
    const file = folder.file('lines.jsonl', blockOf('jsonl'));
    const samples = await loadSamples({ files: [file], tokenizer: words, seq: 5, inputs });
    const names = inputs.all.map((input) => input.name);
    expect(samples.map((s) => names.map((name) => numbersIn(s, name)))).toEqual(tableOf('`input_ids`'));
  });

  test('shows the samples that its arrays give', async () => {
    const rows = tableOf('array').map(([name, descr, shape, sample]) => ({
      name: name!.replaceAll('`', ''),
      descr: descr!.replaceAll('`', ''),
      shape: shape === '' ? [] : shape!.split(', ').map(Number),
      sample: sample!,
    }));
    const bytes = { '<i4': 4, '|b1': 1 } as Readonly<Record<string, number>>;
    const given = rows.filter(({ descr }) => descr in bytes);
    expect(given.map(({ name }) => name)).toEqual([...blockOf('python').matchAll(/(\w+)=/g)].map((m) => m[1]));
    const arrays = given.map(
      ({ name, descr, shape }) => [`${name}.npy`, npy(descr, shape, new Uint8Array(sizeOf(shape) * bytes[descr]!))] as const,
    );
    const samples = await loadSamples({ files: [folder.file('calib.npz', zip(Object.fromEntries(arrays)))], inputs });
    expect(samples).toHaveLength(given[0]!.shape[0]!);
    for (const s of samples) expect(rows.map(({ name }) => formatType(s[name]!))).toEqual(rows.map(({ sample }) => sample));
  });

  test.each(['compile', 'eval'])('is summed up in the help of %s', async (command) => {
    const { stdout } = await qc(['help', command]);
    for (const kind of [...page.matchAll(/^## \w+: `(\.\w+)`$/gm)].map((m) => m[1]!)) expect(stdout).toContain(`${kind} `);
    for (const option of ['--input', '--mask', '--seq']) expect([page, stdout].every((text) => text.includes(option))).toBe(true);
  });

  test('has commands that run', async () => {
    for (const command of blockOf('sh').trim().split('\n')) {
      const [program, ...args] = command.replace('demo.qc.onnx', folder.file('demo.qc.onnx', '')).split(' ');
      expect(program).toBe('qc');
      expect({ command, ...(await qc([...args, '--quiet'])) }).toMatchObject({ command, code: 0 });
    }
  });
});
