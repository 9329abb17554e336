import { string } from '../../ir/attributes.ts';
import type { Builder } from '../../ir/builder.ts';
import { scalarOf } from '../../ir/constants.ts';
import type { Value } from '../../ir/graph.ts';
import { Add, Div, Erf, Gelu, Mul, Pow, Tanh } from '../../ir/ops/generated.ts';
import { any, constant, either, op, refuse, type Pattern, type Refusal } from '../../ir/pattern.ts';
import { rule, type RewriteRule } from '../../ir/rewrite.ts';

const near = (v: Value, x: number): boolean => {
  const k = scalarOf(v);
  return k !== null && Math.abs(k - x) <= 1e-4 * Math.abs(x);
};

/** Refuses the first constant that is not the number of GELU in its place. */
function unlike(numbers: readonly (readonly [found: Value, wanted: number])[]): Refusal | null {
  const wrong = numbers.find(([found, wanted]) => !near(found, wanted));
  return wrong ? refuse(`a constant of GELU is not ${wrong[1]}`, wrong[0]) : null;
}

/** What the function inside of a GELU may bind. */
interface Inside {
  readonly x?: Value;
  /** x / root or x root. */
  readonly inner?: Div | Mul;
  readonly root?: Value;
  readonly k?: Value;
  readonly c?: Value;
  readonly three?: Value;
  readonly first?: Value;
}

interface Spelling extends Inside {
  readonly gelu: Mul;
  readonly x: Value;
  readonly half: Value;
  readonly one: Value;
}

/** The three ways to multiply x, 1/2 and (1 + f), where `f` is a function of x. */
function spellings(f: Pattern<Inside>): readonly Pattern<Spelling>[] {
  const sum = either(Add, 'sum', { a: f, b: constant('one') }, { a: constant('one'), b: f });
  const product = either(Mul, 'product', { a: any('x'), b: sum }, { a: sum, b: any('x') });
  const half = either(Mul, 'halved', { a: any('x'), b: constant('half') }, { a: constant('half'), b: any('x') });
  const halfSum = either(Mul, 'halved', { a: sum, b: constant('half') }, { a: constant('half'), b: sum });
  return [
    either(Mul, 'gelu', { a: product, b: constant('half') }, { a: constant('half'), b: product }),
    either(Mul, 'gelu', { a: half, b: sum }, { a: sum, b: half }),
    either(Mul, 'gelu', { a: any('x'), b: halfSum }, { a: halfSum, b: any('x') }),
  ];
}

const times = (a: Pattern<Inside>, b: Pattern<Inside>, name: string): Pattern<Inside> => either(Mul, name, { a, b }, { a: b, b: a });

const overRoot: Pattern<Inside> = op(Div, 'inner', { a: any('x'), b: constant('root') });
const timesRoot: Pattern<Inside> = either(Mul, 'inner', { a: any('x'), b: constant('root') }, { a: constant('root'), b: any('x') });

/** x / 2 * (1 + erf(x / sqrt 2)) = Gelu(x). */
const erfRules = [overRoot, timesRoot]
  .flatMap((input) => spellings(op(Erf, 'erf', { input })))
  .map((pattern) =>
    rule('raise-gelu-erf', pattern, ({ gelu, inner, x, half, one, root }, build) => {
      const factor = inner?.node.op === 'Div' ? Math.SQRT2 : Math.SQRT1_2;
      return unlike([...halves(half, one), [root!, factor]]) ?? become(build, gelu, x, 'none');
    }),
  );

const halves = (half: Value, one: Value): readonly (readonly [Value, number])[] => [
  [half, 0.5],
  [one, 1],
];

const square = op(Mul, 'square', { a: any('x'), b: any('x') });
const cubes: readonly Pattern<Inside>[] = [op(Pow, 'cube', { x: any('x'), y: constant('three') }), times(any('x'), square, 'cube')];
const cubics = cubes.map((cube) => times(cube, constant('k'), 'cubic'));
const sums = cubics.map((cubic) => either(Add, 'argument', { a: any('x'), b: cubic }, { a: cubic, b: any('x') }));
const kxx = times(times(any('x'), constant('k'), 'kx'), any('x'), 'kxx');
const onePlus = either(Add, 'plus', { a: kxx, b: constant('first') }, { a: constant('first'), b: kxx });

/** sqrt(2 / pi) (x + 0.044715 x^3), and sqrt(2 / pi) x (1 + 0.044715 x x), as BLOOM has it. */
const polynomials = [
  ...sums.map((sum) => times(sum, constant('c'), 'inside')),
  times(times(any('x'), constant('c'), 'cx'), onePlus, 'inside'),
];

/** x / 2 * (1 + tanh(polynomial)) = Gelu{approximate = tanh}(x). */
const tanhRules = polynomials
  .flatMap((input) => spellings(op(Tanh, 'tanh', { input })))
  .map((pattern) =>
    rule('raise-gelu-tanh', pattern, ({ gelu, x, half, one, three, first, k, c }, build) => {
      const powers = [three && ([three, 3] as const), first && ([first, 1] as const)].filter((p) => p !== undefined);
      return unlike([...halves(half, one), ...powers, [k!, 0.044715], [c!, Math.sqrt(2 / Math.PI)]]) ?? become(build, gelu, x, 'tanh');
    }),
  );

function become(build: Builder, gelu: Mul, x: Value, approximate: 'none' | 'tanh'): void | Refusal {
  const made = build.make(Gelu, { x }, { attributes: { approximate: string(approximate) }, like: gelu.c, name: gelu.node.name });
  build.graph.replace(gelu.c, made.y);
}

/** Spellings of GELU. */
export const gelus: readonly RewriteRule[] = [...erfRules, ...tanhRules];
