import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { Node, Project, SyntaxKind, type AsExpression, type SourceFile } from 'ts-morph';

interface Import {
  /** The importing file, from the root of the repository. */
  readonly from: string;
  /** A file of ours, or the name of a package. */
  readonly to: string;
  readonly typeOnly: boolean;
}

const root = process.cwd();
const project = new Project({ skipAddingFilesFromTsConfig: true });
project.addSourceFilesAtPaths(['ir/**/*.ts', 'passes/**/*.ts', 'codegen/**/*.ts', 'src/**/*.ts', 'src/**/*.mjs']);

const imports: readonly Import[] = project.getSourceFiles().flatMap((file) => {
  const from = relative(root, file.getFilePath());
  const resolved = (specifier: string): string =>
    specifier.startsWith('.') ? join(dirname(from), specifier) : specifier.replace(/^node:/, 'node:');
  const dynamic = [...file.getFullText().matchAll(/\bimport\('([^']+)'\)/g)].map((m) => ({ from, to: resolved(m[1]!), typeOnly: false }));
  return [
    ...file.getImportDeclarations().map((d) => {
      const named = d.getNamedImports();
      const typeOnly =
        d.isTypeOnly() || (named.length > 0 && !d.getDefaultImport() && !d.getNamespaceImport() && named.every((n) => n.isTypeOnly()));
      return { from, to: resolved(d.getModuleSpecifierValue()), typeOnly };
    }),
    ...file
      .getExportDeclarations()
      .flatMap((d) =>
        d.getModuleSpecifierValue() === undefined ? [] : [{ from, to: resolved(d.getModuleSpecifierValue()!), typeOnly: d.isTypeOnly() }],
      ),
    ...dynamic,
  ];
});
const folderOf = (path: string): string => path.split('/')[0]!;
const isOurs = (i: Import): boolean =>
  ['ir', 'passes', 'codegen', 'src', 'test', 'scripts', 'examples', 'bench'].includes(folderOf(i.to)) && i.to.includes('/');
const shown = (list: readonly Import[]): readonly string[] => list.map((i) => `${i.from} imports ${i.to}`);
const from = (folder: string): readonly Import[] => imports.filter((i) => folderOf(i.from) === folder);

/** The ways from something back to where it was before, each written with arrows. */
function circles(arrows: ReadonlyMap<string, Iterable<string>>): readonly string[] {
  const done = new Set<string>();
  const visit = (at: string, path: readonly string[]): readonly string[] => {
    if (path.includes(at)) return [[...path.slice(path.indexOf(at)), at].join(' -> ')];
    if (done.has(at)) return [];
    const found = [...(arrows.get(at) ?? [])].flatMap((to) => visit(to, [...path, at]));
    done.add(at);
    return found;
  };
  return [...arrows.keys()].flatMap((at) => visit(at, []));
}

describe('imports go one way', () => {
  test('there is something to look at', () => {
    expect(imports.length).toBeGreaterThan(400);
    for (const folder of ['ir', 'passes', 'codegen', 'src']) expect(from(folder).length).toBeGreaterThan(30);
  });
  test.each([
    ['ir', ['ir']],
    ['passes', ['passes', 'ir']],
    ['codegen', ['codegen', 'ir']],
    ['src', ['src', 'ir', 'passes', 'codegen']],
  ])('%s imports of ours only %p', (folder, allowed) => {
    expect(shown(from(folder).filter((i) => isOurs(i) && !allowed.includes(folderOf(i.to))))).toEqual([]);
  });
  test('no folder at the top depends on itself through others', () => {
    const arrows = new Map<string, Set<string>>();
    for (const i of imports.filter(isOurs))
      if (folderOf(i.from) !== folderOf(i.to))
        arrows.set(folderOf(i.from), (arrows.get(folderOf(i.from)) ?? new Set()).add(folderOf(i.to)));
    expect(circles(arrows)).toEqual([]);
  });
});

describe('packages have their places', () => {
  const importers = (name: RegExp): readonly Import[] => imports.filter((i) => name.test(i.to) && !isOurs(i));
  test('protobufjs is known to codegen/onnx/proto.ts alone', () => {
    expect([
      ...new Set(
        importers(/^protobufjs/)
          .filter((i) => !i.typeOnly)
          .map((i) => i.from),
      ),
    ]).toEqual(['codegen/onnx/proto.ts']);
    expect(shown(importers(/^protobufjs|^onnx-proto|^long$/).filter((i) => folderOf(i.from) !== 'codegen'))).toEqual([]);
  });
  test('onnxruntime-node is known to src/runtime alone', () => {
    const found = importers(/^onnxruntime/);
    expect(found.length).toBeGreaterThan(0);
    expect(shown(found.filter((i) => !i.from.startsWith('src/runtime/')))).toEqual([]);
  });
  test('ir and passes touch no files, no processes, no network', () => {
    // Digests of weights are computations.
    const outside = (i: Import): boolean => i.to.startsWith('node:') && i.to !== 'node:crypto';
    expect(shown(imports.filter((i) => ['ir', 'passes'].includes(folderOf(i.from)) && outside(i)))).toEqual([]);
  });
  test('ir needs no package at all, and passes one for k-means and one for digests', () => {
    const packages = (folder: string): readonly string[] => [
      ...new Set(
        from(folder)
          .filter((i) => !isOurs(i))
          .map((i) => i.to),
      ),
    ];
    expect(packages('ir')).toEqual([]);
    expect(packages('passes').toSorted()).toEqual(['ml-kmeans', 'node:crypto']);
  });
  test('ts-morph is no part of the product', () => expect(shown(importers(/^ts-morph/))).toEqual([]));
});

test('no file depends on itself through value imports', () => {
  const arrows = new Map<string, string[]>();
  for (const i of imports) if (isOurs(i) && !i.typeOnly) arrows.set(i.from, [...(arrows.get(i.from) ?? []), i.to]);
  expect(circles(arrows)).toEqual([]);
});

test('no folder of the kernels includes itself by way of others', () => {
  const roots = ['src', 'cuda/src', 'cuda'].map((r) => join('kernels', r));
  const sources = roots.flatMap((r) => readdirSync(r, { recursive: true, encoding: 'utf8' }).map((f) => join(r, f)));
  const arrows = new Map<string, Set<string>>();
  for (const file of sources.filter((f) => /\.(h|cc|cuh?|inl)$/.test(f)))
    for (const [, named] of readFileSync(file, 'utf8').matchAll(/^#include "(.+)"$/gm)) {
      const found = [dirname(file), ...roots].map((r) => join(r, named!)).find((f) => existsSync(f));
      if (found && dirname(found) !== dirname(file))
        arrows.set(dirname(file), (arrows.get(dirname(file)) ?? new Set()).add(dirname(found)));
    }
  expect(arrows.size).toBeGreaterThan(6);
  expect(circles(arrows)).toEqual([]);
});

describe('a graph changes in one place', () => {
  const sources = project.getSourceFiles().map((file) => ({ file, path: relative(root, file.getFilePath()) }));
  const guarded = ['inputs', 'outputs', 'constants', 'type', 'name', 'uses', 'operands', 'attributes', 'value'];
  const assignments: readonly SyntaxKind[] = [SyntaxKind.EqualsToken, SyntaxKind.QuestionQuestionEqualsToken];
  /** `(v as { type: T }).type = t`, and `v.uses as Set<Use>`: the ways around a read-only member. */
  const defeats = (cast: AsExpression): boolean => {
    const inner = cast.getExpression();
    const mutable = /^(Value\[\]|Use\[\]|Set<|Map<)/.test(cast.getTypeNode()?.getText() ?? '');
    if (mutable && Node.isPropertyAccessExpression(inner) && guarded.includes(inner.getName())) return true;
    const access = cast.getParentOrThrow().getParent();
    const assignment = access?.getParent();
    return (
      Node.isPropertyAccessExpression(access) &&
      guarded.includes(access.getName()) &&
      Node.isBinaryExpression(assignment) &&
      assignment.getLeft() === access &&
      assignments.includes(assignment.getOperatorToken().getKind())
    );
  };
  const casts = (path: string) =>
    sources.filter((s) => s.path === path).flatMap(({ file }) => file.getDescendantsOfKind(SyntaxKind.AsExpression).filter(defeats));
  test('no cast gets around what is read-only but in ir/graph.ts', () => {
    expect(casts('ir/graph.ts').length).toBeGreaterThan(5);
    expect(sources.filter(({ path }) => path !== 'ir/graph.ts' && casts(path).length > 0).map(({ path }) => path)).toEqual([]);
  });
  test('nodes are made by the builder, by readers and by copies', () => {
    const makers = sources.filter(({ file }) =>
      file.getDescendantsOfKind(SyntaxKind.NewExpression).some((made) => made.getExpression().getText() === 'Node'),
    );
    expect(makers.map(({ path }) => path).sort()).toEqual([
      'codegen/onnx/import-graph.ts',
      'ir/builder.ts',
      'ir/clone.ts',
      'ir/graph.ts',
      'ir/text/parser.ts',
    ]);
  });
});

describe('inside passes, imports go down', () => {
  /** Each folder with those of `passes` that it may import, beside itself and `infra`. */
  const allowed: Readonly<Record<string, readonly string[]>> = {
    methods: ['scaling', 'quantize', 'search', 'observe', 'blocks', 'channels', 'model', 'operators'],
    scaling: ['quantize', 'search', 'observe', 'channels', 'model'],
    quantize: ['search', 'observe', 'blocks', 'channels', 'model', 'operators'],
    search: ['observe', 'blocks', 'channels', 'model', 'operators'],
    observe: ['blocks', 'model', 'operators'],
    raise: ['model', 'operators'],
    channels: ['model', 'operators'],
    model: ['operators'],
    operators: [],
    blocks: ['operators'],
    cleanup: [],
    infra: [],
  };
  const folderIn = (path: string): string => path.split('/')[1]!;
  const inside = from('passes').filter((i) => i.from !== 'passes/index.ts' && folderOf(i.to) === 'passes');
  test('every folder is known', () =>
    expect(
      [...new Set(imports.map((i) => i.from).filter((f) => folderOf(f) === 'passes' && f !== 'passes/index.ts'))]
        .map(folderIn)
        .filter((f) => !(f in allowed)),
    ).toEqual([]));
  test.each(Object.entries(allowed))('%s imports only %p', (folder, below) => {
    const wrong = inside.filter((i) => folderIn(i.from) === folder && ![folder, 'infra', ...below].includes(folderIn(i.to)));
    expect(shown(wrong)).toEqual([]);
  });
  test('no method imports another', () => {
    const methodOf = (path: string): string => path.split('/')[2]!;
    const across = inside.filter(
      (i) => folderIn(i.from) === 'methods' && folderIn(i.to) === 'methods' && methodOf(i.from) !== methodOf(i.to),
    );
    expect(shown(across)).toEqual([]);
  });
});

describe('an operator lives in few places', () => {
  const operators = [...readFileSync('ir/ops/generated.ts', 'utf8').matchAll(/^export class (\w+) extends OpView/gm)].map((m) => m[1]!);
  const generated = ['ir/ops/generated.ts', 'codegen/onnx/op-history.ts', 'codegen/kernels/operators.ts'];
  const sources = project
    .getSourceFiles()
    .map((file) => ({ file, path: relative(root, file.getFilePath()) }))
    .filter(({ path }) => !generated.includes(path) && !path.endsWith('proto.ts'));
  /** Words in quotes; `com.microsoft.Attention` is another operator than `Attention`. */
  const wordsIn = (text: string): readonly string[] => text.match(/(?<![\w.])[A-Z]\w*/g) ?? [];
  const texts: readonly SyntaxKind[] = [
    SyntaxKind.StringLiteral,
    SyntaxKind.NoSubstitutionTemplateLiteral,
    SyntaxKind.TemplateHead,
    SyntaxKind.TemplateMiddle,
    SyntaxKind.TemplateTail,
  ];
  const namedIn = (file: SourceFile): ReadonlySet<string> =>
    new Set([
      ...texts.flatMap((kind) => file.getDescendantsOfKind(kind)).flatMap((literal) => wordsIn(literal.getText())),
      ...file
        .getImportDeclarations()
        .filter((d) => d.getModuleSpecifierValue().endsWith('ops/generated.ts'))
        .flatMap((d) => d.getNamedImports().map((n) => n.getName())),
      ...file
        .getDescendantsOfKind(SyntaxKind.PropertyAssignment)
        .map((p) => p.getName())
        .filter((name) => /^[A-Z]/.test(name)),
    ]);
  const namers = new Map<string, string[]>(operators.map((op) => [op, []]));
  for (const { file, path } of sources) for (const name of namedIn(file)) namers.get(name)?.push(path);

  test('the files that name each operator', () => {
    const rows = [...namers].filter(([, paths]) => paths.length > 3).toSorted(([, a], [, b]) => b.length - a.length);
    const byFolder = (paths: readonly string[]): string =>
      ['ir', 'passes', 'codegen', 'src'].map((f) => String(paths.filter((p) => folderOf(p) === f).length).padStart(8)).join('');
    const head = `${'operator'.padEnd(24)}   files      ir  passes codegen     src`;
    console.info([head, ...rows.map(([op, p]) => op.padEnd(24) + String(p.length).padStart(8) + byFolder(p))].join('\n'));
    expect(rows.length).toBeGreaterThan(20);
  });
  test.each([
    ['LayerNormalization', 9],
    ['RMSNormalization', 8],
    ['RotaryEmbedding', 9],
    ['Attention', 11],
  ])('%s is named in at most %d files', (op, most) => {
    const paths = namers.get(op)!;
    expect({ paths, few: paths.length <= most }).toEqual({ paths, few: true });
  });
  test('folders that know no operator by name', () => {
    const blind = /^passes\/(channels|model|quantize|methods|observe)\//;
    const transformers = ['LayerNormalization', 'RMSNormalization', 'RotaryEmbedding', 'Attention', 'MatMul', 'Softmax', 'Gelu'];
    expect(
      transformers.flatMap((op) =>
        namers
          .get(op)!
          .filter((p) => blind.test(p))
          .map((p) => `${p} names ${op}`),
      ),
    ).toEqual([]);
  });
  test("no pass knows the IR's own operators by their prefix", () =>
    expect(
      sources
        .filter(
          ({ file, path }) =>
            folderOf(path) === 'passes' && file.getDescendantsOfKind(SyntaxKind.StringLiteral).some((l) => l.getLiteralText() === 'qc.'),
        )
        .map(({ path }) => path),
    ).toEqual([]));
  test('no regular expression names one', () => {
    const found = sources.flatMap(({ file, path }) =>
      file.getDescendantsOfKind(SyntaxKind.RegularExpressionLiteral).flatMap((r) =>
        wordsIn(r.getText())
          .filter((w) => namers.has(w))
          .map((w) => `${path}: ${w}`),
      ),
    );
    expect(found).toEqual([]);
  });
});
