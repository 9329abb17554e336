import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Graph } from '../../ir/index.ts';
import {
  definePass,
  choice,
  flag,
  flattened,
  float,
  formatPipeline,
  int,
  parsePipeline,
  PassManager,
  passes,
  schemeNamed,
  schemes,
  suggestion,
  text,
  type PassCall,
} from '../../passes/index.ts';
import { fileSpool } from '../../src/runtime/spool.ts';
import { errorOf, inMemory } from '../support/run.ts';

const manager = new PassManager(passes);

describe('the text of a pipeline', () => {
  test.each([
    'none',
    'dead-code',
    'rptq{r1=32 seed=7},os+',
    'mark-sites{scheme=w4a8 head},observe,calibrate',
    'plugin.pass{path="a b" list=4,8,16},my-pass2',
    'os+{threshold=2.5}',
    'a{b=x=y c="{d}"}',
  ])('%s reads back as itself', (pipeline) => expect(formatPipeline(parsePipeline(pipeline))).toBe(pipeline));
  test('may have spaces, and gives a flag no value', () => {
    expect(parsePipeline(' rptq{ r1=3  seed=0 } , os+ ')).toEqual([
      { name: 'rptq', options: { r1: '3', seed: '0' } },
      { name: 'os+', options: {} },
    ]);
    expect(parsePipeline('mark-sites{head}')).toEqual([{ name: 'mark-sites', options: { head: '' } }]);
    expect(parsePipeline('  ')).toEqual([]);
  });
  test('that is made from calls reads back as those calls', () => {
    const word = fc.stringMatching(/^[a-z][a-z0-9-]{0,5}$/);
    const value = fc.string({ maxLength: 8, unit: fc.constantFrom('a', 'Z', '0', ' ', ',', '.', '{', '}', '=', '-', '/') });
    const call = fc.record({
      name: fc.stringMatching(/^[a-z][a-z0-9+.-]{0,6}$/),
      options: fc.dictionary(word, value, { maxKeys: 3, noNullPrototype: true }),
    });
    fc.assert(
      fc.property(fc.array(call, { maxLength: 4 }), (calls: PassCall[]) => {
        fc.pre(!(calls.length === 1 && calls[0]!.name === 'none'));
        expect(parsePipeline(formatPipeline(calls))).toEqual(calls);
      }),
    );
  });
});

describe('a pipeline that does not parse shows where', () => {
  test.each([
    ['rptq{r1=', "expected a value for 'r1'", 8],
    ['rptq os+', "expected ',' or the end", 5],
    ['rptq,', 'expected a pass name', 5],
    [',rptq', 'expected a pass name', 0],
    ['Rptq', 'expected a pass name', 0],
    ['rptq{r1=3', "expected an option or '}'", 9],
    ['rptq{r1=3,seed=1}', null, 0],
    ['rptq{=3}', "expected an option or '}'", 5],
    ['rptq}', "expected ',' or the end", 4],
    ['rptq{seed="1}', "expected a value for 'seed'", 10],
  ])('%s', (pipeline, message, at) => {
    if (message === null) return expect(parsePipeline(pipeline)).toEqual([{ name: 'rptq', options: { r1: '3,seed=1' } }]);
    expect(errorOf(() => parsePipeline(pipeline))).toEqual({
      code: 'QC2001',
      message: `<pipeline>:1:${at + 1}: error QC2001: ${message}\n  ${pipeline}\n  ${' '.repeat(at)}^`,
    });
  });
});

describe('options', () => {
  test.each([
    ['rptq{r1=0}', 'error QC2003: rptq{r1=0}: expected an integer of at least 1'],
    ['rptq{seed=1.5}', 'error QC2003: rptq{seed=1.5}: expected an integer of at least 0'],
    ['os+{threshold=wide}', 'error QC2003: os+{threshold=wide}: expected a number of at least 0'],
    ['os+{threshold}', 'error QC2003: os+{threshold=}: expected a number of at least 0'],
    ['mark-sites{head=maybe}', 'error QC2003: mark-sites{head=maybe}: expected true or false'],
    ['quantize{range=average}', 'error QC2003: quantize{range=average}: expected one of auto, minmax, ema, token'],
    ['quantize{range=mimax}', "error QC2003: quantize{range=mimax}: expected one of auto, minmax, ema, token; did you mean 'minmax'?"],
    [
      'rptq{sed=1}',
      "error QC2002: pass rptq has no option 'sed'; it takes r1, r2, r3, r4, r5, align, seed, unordered; did you mean 'seed'?",
    ],
    ['dead-code{all}', "error QC2002: pass dead-code has no option 'all'; it takes none"],
    ['rptq{constructor=1}', "error QC2002: pass rptq has no option 'constructor'; it takes r1, r2, r3, r4, r5, align, seed, unordered"],
    ['rptqq', "error QC2004: no pass 'rptqq'; did you mean 'rptq'?\n  hint: known passes: "],
    ['smoothquant', "error QC2004: no pass 'smoothquant'\n  hint: known passes: raise, "],
  ])('%s', (pipeline, message) =>
    expect(
      errorOf(() => manager.plan(pipeline, ['raised', 'sites', 'observed', 'calibrated', 'folded']))?.message.startsWith(message),
    ).toBe(true),
  );
  test('have the values that are written, or else their defaults', () => {
    const seen: unknown[] = [];
    const probe = definePass({
      name: 'probe',
      summary: 'a test',
      contract: 'exact',
      options: {
        n: int('n', 3),
        x: float('x', null),
        on: flag('on', false),
        which: choice('which', ['a', 'b'], 'a'),
        word: text('word', 'w'),
      },
      run(_graph, _ctx, values) {
        seen.push(values);
        const typed: {
          readonly n: number;
          readonly x: number | null;
          readonly on: boolean;
          readonly which: 'a' | 'b';
          readonly word: string;
        } = values;
        // @ts-expect-error there is no such option
        void typed.other;
      },
    });
    const run = async (pipeline: string): Promise<void> => {
      const services = {
        executor: { load: () => Promise.reject(new Error('none')) },
        spool: fileSpool,
        store: inMemory,
        samples: null,
        mask: null,
        statistics: null,
      };
      await new PassManager([probe]).plan(pipeline).run(new Graph('g'), { services, contract: null });
    };
    return run('probe,probe{n=-4 x=2.5 on which=b word="two words"},probe{on=false}').then(() =>
      expect(seen).toEqual([
        { n: 3, x: null, on: false, which: 'a', word: 'w' },
        { n: -4, x: 2.5, on: true, which: 'b', word: 'two words' },
        { n: 3, x: null, on: false, which: 'a', word: 'w' },
      ]),
    );
  });
  test('a suggestion is near, or there is none', () => {
    expect([suggestion('clustres', ['clusters', 'seed']), suggestion('x', ['clusters']), suggestion('', [])]).toEqual([
      "; did you mean 'clusters'?",
      '',
      '',
    ]);
  });
});

describe('needs', () => {
  test.each([
    ['rptq', "error QC2005: 'rptq' needs 'calibrated', which nothing before it gives\n  hint: put 'calibrate' before it"],
    ['observe', "error QC2005: 'observe' needs 'sites', which nothing before it gives\n  hint: put 'mark-sites' before it"],
    [
      'raise,mark-sites,observe,calibrate,rptq,os+',
      "error QC2005: 'os+' needs 'folded', which nothing before it gives\n  hint: put 'fold-channels' before it",
    ],
  ])('%s is refused before anything runs', (pipeline, message) => expect(errorOf(() => manager.plan(pipeline))?.message).toBe(message));
  test('that are met pass, and the plan says what will run', () => {
    const pipeline = 'raise,mark-sites,observe,calibrate,rptq{r1=8},fold-channels,os+,fold-channels,quantize,dead-code';
    expect(manager.plan(pipeline).text).toBe(pipeline);
    expect(manager.plan('rptq', ['calibrated', 'folded']).calls).toEqual([{ name: 'rptq', options: {} }]);
  });
});

describe('completing a pipeline', () => {
  const complete = (pipeline: string, wanted: readonly string[], defaults: Readonly<Record<string, string>> = {}): string =>
    formatPipeline(manager.complete(parsePipeline(pipeline), wanted, defaults));
  test('puts in front of each pass what it needs, and at the end what gives the wanted', () => {
    expect(complete('rptq', ['quantized'])).toBe('raise,mark-sites,observe,calibrate,rptq,fold-channels,quantize');
    expect(complete('os+,rptq', ['quantized'])).toBe('raise,mark-sites,observe,calibrate,os+,fold-channels,rptq,fold-channels,quantize');
  });
  test('inserts nothing twice, and nothing that is there', () => {
    expect(complete('raise,mark-sites{scheme=w4a4},observe,calibrate,rptq,fold-channels,os+', [])).toBe(
      'raise,mark-sites{scheme=w4a4},observe,calibrate,rptq,fold-channels,os+',
    );
    expect(complete('none', [])).toBe('none');
  });
  test('gives open options their defaults, to inserted passes and to given ones, and leaves the written ones', () => {
    expect(complete('rptq{align=8}', ['quantized'], { scheme: 'w4a8', align: '32', block: '64' })).toBe(
      'raise,mark-sites{scheme=w4a8},observe,calibrate,rptq{align=8},fold-channels,quantize{scheme=w4a8 block=64}',
    );
  });
  test('gives a plan', () =>
    expect(manager.plan(manager.complete(parsePipeline('os+,rptq'), ['quantized'], { scheme: 'w8a8' })).calls.length).toBeGreaterThan(7));
  test('takes its own passes for what a plugin gives too, unless the plugin is marked as the default', () => {
    const completed = (defaultFor: readonly string[]): string => {
      const gives = ['calibrated', 'guessed'];
      const guess = definePass({ name: 'guess', summary: 'a test', contract: 'exact', needs: ['observed'], gives, defaultFor, run() {} });
      const eager = definePass({ name: 'eager', summary: 'a test', contract: 'exact', needs: ['guessed'], run() {} });
      return formatPipeline(new PassManager([...passes, guess, eager]).complete(parsePipeline('rptq,os+,eager'), [], {}));
    };
    expect(completed([])).toBe('raise,mark-sites,observe,calibrate,rptq,fold-channels,os+,guess,eager');
    expect(completed(['calibrated'])).toBe('raise,mark-sites,observe,guess,rptq,fold-channels,os+,eager');
  });
  test('has one default for every fact', () => {
    const marks = passes.flatMap((p) => p.defaultFor);
    expect(new Set(marks).size).toBe(marks.length);
    for (const p of passes) expect(p.gives).toEqual(expect.arrayContaining([...p.defaultFor]));
    for (const fact of new Set(passes.flatMap((p) => p.gives)))
      expect(passes.filter((p) => p.gives.includes(fact)).length === 1 || marks.includes(fact)).toBe(true);
  });
  test('fails where nothing gives what is needed', () => {
    const odd = definePass({ name: 'odd', summary: 'a test', contract: 'exact', needs: ['magic'], run() {} });
    expect(errorOf(() => new PassManager([odd]).complete([{ name: 'odd', options: {} }], [], {}))?.message).toBe(
      "error QC2005: nothing gives 'magic', which odd needs",
    );
  });
});

describe('schemes', () => {
  test('have names of their own and can be looked up', () => {
    expect(new Set(schemes.map((s) => s.name)).size).toBe(schemes.length);
    for (const s of schemes) expect(schemeNamed(s.name)).toBe(s);
    expect(errorOf(() => schemeNamed('w8a9'))?.message).toMatch(
      /^error QC2006: no scheme 'w8a9'; did you mean 'w8a8'\?\n {2}hint: schemes: w8a8, /,
    );
  });
  test.each([
    ['w5a7', 5, { norm: 7, linear: 7 }],
    ['w8a8kv8', 8, { norm: 8, linear: 8, key: 8, value: 8 }],
    ['w4a16kv3', 4, { key: 3, value: 3 }],
    ['w16a8', null, { norm: 8, linear: 8 }],
  ])('%s is known by its bits', (name, bits, activations) => {
    const scheme = schemeNamed(name);
    expect(scheme.name).toBe(name);
    expect(scheme.weights?.bits ?? null).toBe(bits);
    expect(Object.fromEntries(Object.entries(scheme.activations).map(([role, a]) => [role, a.bits]))).toEqual(activations);
  });
  test.each(['w16a16', 'w1a8', 'w8a2', 'w9a9', 'w8a8kv16', 'xw8a8'])('%s is none', (name) =>
    expect(errorOf(() => schemeNamed(name))?.code).toBe('QC2006'),
  );
  test("are RPTQ's as its table has them: norms keep 8 bits, and the KV schemes touch keys and values alone", () => {
    const bits = (name: string): unknown =>
      Object.fromEntries(Object.entries(schemeNamed(name).activations).map(([role, a]) => [role, a.bits]));
    expect(bits('rptq-w4a4')).toEqual({ norm: 8, linear: 4, query: 4, key: 4, value: 4 });
    expect(bits('rptq-w4a8')).toEqual({ norm: 8, linear: 8, query: 8, key: 8, value: 8 });
    expect(bits('rptq-w3a3kv')).toEqual({ key: 3, value: 3 });
    expect(bits('rptq-w4a16')).toEqual({});
    expect([
      schemeNamed('rptq-w4a4').probabilities,
      schemeNamed('rptq-w4a3kv').probabilities,
      schemeNamed('rptq-w4a16').probabilities,
    ]).toEqual([true, false, false]);
    expect(schemeNamed('rptq-w3a3kv').weights).toEqual({ bits: 3, symmetric: false, grid: 'rptq', per: 'channel' });
  });
  test("are OS+'s as its configurations have them", () => {
    expect(schemeNamed('os+-int8').weights).toEqual({ bits: 8, symmetric: true, grid: 'standard', per: 'tensor' });
    expect(schemeNamed('os+-int8').activations.norm).toEqual({ bits: 8, symmetric: true, grid: 'standard', range: 'static' });
    expect(Object.keys(schemeNamed('os+-int6-token').activations)).toEqual(['norm', 'linear']);
    expect(schemeNamed('os+-int4-token').activations.linear).toMatchObject({ bits: 4, range: 'token' });
  });
});

describe('a pass that holds others', () => {
  const pipeline = 'raise,each-block{order=sequential}(calibrate,rptq{r1=4},fold-channels),dead-code';
  test('reads back as itself, with passes inside passes', () => {
    expect(formatPipeline(parsePipeline(pipeline))).toBe(pipeline);
    expect(formatPipeline(parsePipeline(' each-block( a , b{x} ( c ) ) '))).toBe('each-block(a,b{x}(c))');
    expect(flattened(parsePipeline(pipeline)).map((c) => c.name)).toEqual([
      'raise',
      'each-block',
      'calibrate',
      'rptq',
      'fold-channels',
      'dead-code',
    ]);
  });
  test.each([
    ['each-block(', 'expected a pass name'],
    ['each-block(rptq', "expected ',' or ')'"],
    ['each-block(rptq))', "expected ',' or the end"],
    ['each-block()', 'expected a pass name'],
    ['each-block', 'each-block needs passes in parentheses: each-block(calibrate,rptq,quantize)'],
    ['rptq(calibrate)', 'rptq holds no passes, so it takes no parentheses'],
    ['each-block{order=random}(raise)', 'each-block{order=random}: expected one of parallel, sequential'],
  ])('%s is refused', (text, message) => {
    const found = errorOf(() => manager.plan(text, ['raised', 'sites', 'observed', 'calibrated', 'folded']));
    expect(found?.message).toContain(message);
  });
  test('has its needs completed inside, and gives what they give', () => {
    const completed = (text: string) => formatPipeline(manager.complete(parsePipeline(text), ['quantized'], { scheme: 'w4a8' }));
    expect(completed('raise,each-block{order=sequential}(rptq)')).toBe(
      'raise,each-block{order=sequential}(mark-sites{scheme=w4a8},observe,calibrate,rptq),fold-channels,quantize{scheme=w4a8}',
    );
    expect(() => manager.plan('raise,each-block(rptq)')).toThrow("'rptq' needs 'calibrated'");
  });
});
