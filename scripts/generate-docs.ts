import { mkdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { targets } from '../codegen/index.ts';
import {
  codeEntry,
  codes,
  type ActivationScheme,
  type CodeEntry,
  type DiagnosticCode,
  type Role,
  type Scheme,
  type WeightScheme,
} from '../ir/index.ts';
import { presets } from '../src/presets.ts';
import { passes, plainNames, schemes, type Pass } from '../passes/index.ts';
import { exitCodes } from '../src/cli/errors.ts';
import { readManifest } from './operator-manifest.ts';
import { operatorsPage } from './operators-page.ts';
import { blocks, generated, table } from './markdown.ts';

/** The generated pages by file name. Equal code gives equal text. */
export const pages = (): Readonly<Record<string, string>> => ({
  'diagnostics.md': diagnosticsPage(),
  'passes.md': passesPage(),
  'operators.md': operatorsPage(readManifest()),
});

/** Writes the generated pages into a folder. */
export function generateDocs(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(pages())) writeFileSync(join(folder, name), text);
}

// Diagnostics

/** The first digit of a code says which part of `qc` speaks. */
const parts: Readonly<Record<string, string>> = {
  1: 'The IR',
  2: 'Pipelines, options and inputs',
  3: 'Passes',
  4: 'ONNX in and out, targets',
  5: 'The runtime',
  9: 'Bugs in `qc`',
};

const families: Readonly<Record<CodeEntry['family'], string>> = {
  failure: 'the compile could not be done, or not as requested',
  usage: 'the command, the pipeline or a data file is wrong',
  model: 'the model is damaged, or uses what `qc` does not read',
  gate: 'a measured figure is worse than a limit that the user gave',
  internal: 'a bug in `qc` or in a pass',
};

function diagnosticsPage(): string {
  const all = Object.keys(codes) as DiagnosticCode[];
  const digits = [...new Set(all.map((code) => code[2]!))];
  return blocks(
    generated('ir/diagnostic-codes.ts and src/cli/errors.ts'),
    '# Diagnostics',
    'Every message of `qc` has a code. `qc explain QC3101` prints the entry below. A message is one line, with notes (why) and a hint (what to do) on lines of their own:',
    '```\nmodel.onnx#/layers.3/ln_1: warning QC3101: a Gather left at run time behind LayerNormalization\n  note: LayerNormalization /layers.3/ln_1 takes no order, at %h_4\n```',
    'The place in front is the file and, behind `#`, the name of the node; for text it is file, line and column. A code has a severity, which is that of its message unless the message ends the run, and a family, which decides the exit code of the command line:',
    table(
      ['family', 'exit code', 'meaning'],
      (Object.keys(families) as CodeEntry['family'][]).map((f) => [f, String(exitCodes[f]), families[f]]),
    ),
    'A command that a signal stops (`QC5002`) ends with 128 and the number of the signal: 129 for SIGHUP, 130 for SIGINT, 143 for SIGTERM.',
    ...digits.flatMap((digit) => [
      `## ${parts[digit] ?? 'Other'} (QC${digit}xxx)`,
      ...all.filter((code) => code[2] === digit).map(codeSection),
    ]),
  );
}

function codeSection(code: DiagnosticCode): string {
  const { severity, family, title, page } = codeEntry(code);
  return `### ${code}: ${title}\n\n*${severity}, ${family}.* ${page}`;
}

// Passes, schemes, targets

const roles: readonly Role[] = ['norm', 'linear', 'query', 'key', 'value'];

function passesPage(): string {
  return blocks(
    generated('passes/index.ts, src/presets.ts, passes/quantize/schemes.ts and codegen/targets'),
    '# Passes, schemes, targets',
    'What `qc passes` lists. [writing-a-pass.md](writing-a-pass.md) says what the words mean, [methods.md](methods.md) what `rptq`, `os+`, `equalize`, `smooth`, `awq`, `gptq`, `quantize` and `bias-correct` compute.',
    '## Passes',
    'In the order in which a compile usually runs them. An *exact* pass computes the same function in real arithmetic, and is checked on probe inputs; an *approximate* one may lose accuracy.',
    table(
      ['pass', 'contract', 'summary'],
      passes.map((p) => [`[\`${p.name}\`](#${anchor(p.name)})`, p.contract, p.summary]),
    ),
    ...passes.map(passSection),
    '## Presets',
    'Names for pipelines, which stand where passes do: `-p accurate`, or `-p tie-weights,accurate`.',
    table(
      ['preset', 'passes', 'summary'],
      presets.map((p) => [`\`${p.name}\``, `\`${p.passes}\``, p.summary]),
    ),
    '## Schemes',
    'What is quantized, and to how many bits. A dash: stays in float. Weights are asymmetric with one scale for each output channel, activations asymmetric and static with one scale for each group of channels of their site, unless the cell says otherwise. The column *softmax* says whether the published scheme quantizes softmax results. They stay in float here, because `Attention` is one operator; the ledger says so.',
    table(['scheme', 'weights', ...roles, 'softmax', 'summary'], schemes.map(schemeRow)),
    `Any other bits have a name too: \`${plainNames}\`, as in w5a7 or w4a8kv4, 16 being float.`,
    '## Targets',
    table(
      ['target', 'floats', 'operators beyond ONNX', 'summary'],
      targets.map((t) => [`\`${t.name}\``, t.floats, [...t.operators].map((o) => `\`${o}\``).join(', ') || '-', t.summary]),
    ),
  );
}

/** How a page names the place of a heading. */
const anchor = (heading: string): string =>
  heading
    .toLowerCase()
    .replace(/[^\w -]/g, '')
    .replaceAll(' ', '-');

function passSection(pass: Pass): string {
  const { needs, gives, breaks } = pass;
  const facts = Object.entries({ needs, gives, breaks, observes: pass.observes.map((r) => r.name) }).flatMap(([kind, names]) =>
    names.length > 0 ? [`${kind} ${names.map((f) => `\`${f}\``).join(', ')}`] : [],
  );
  const options = Object.entries(pass.options).map(([name, o]) => [
    `\`${name}\``,
    o.kind,
    o.fallback === null ? '' : `\`${String(o.fallback)}\``,
    o.describe,
  ]);
  return [
    `### ${pass.name}`,
    `${capital(pass.summary)}. *${capital([pass.contract, ...facts].join('; '))}.*`,
    ...(options.length > 0 ? [table(['option', 'takes', 'default', 'meaning'], options)] : []),
  ].join('\n\n');
}

const capital = (s: string): string => s.charAt(0).toUpperCase() + s.slice(1);

const schemeRow = (s: Scheme): readonly string[] => [
  `\`${s.name}\``,
  s.weights ? weightCell(s.weights) : '-',
  ...roles.map((role) => activationCell(s.activations[role])),
  s.probabilities ? 'yes' : '-',
  s.summary,
];

const weightCell = ({ bits, symmetric, grid, per }: WeightScheme): string =>
  [
    String(bits),
    ...(symmetric ? ['symmetric'] : []),
    ...(grid === 'rptq' ? ['RPTQ grid'] : []),
    ...(per === 'tensor' ? ['one scale'] : []),
  ].join(', ');

const activationCell = (a: ActivationScheme | undefined): string =>
  a
    ? [
        String(a.bits),
        ...(a.symmetric ? ['symmetric'] : []),
        ...(a.grid === 'rptq' ? ['RPTQ grid'] : []),
        ...(a.range === 'token' ? ['per token'] : []),
      ].join(', ')
    : '-';

if (process.argv[1] !== undefined && resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  generateDocs(process.argv[2] ?? fileURLToPath(new URL('../docs', import.meta.url)));
}
