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

interface Inner {
  readonly inner: Div | Mul;
  readonly x: Value;
  readonly root: Value;
}

/** Erf of x / sqrt(2), plus 1. */
const overRoot: Pattern<Inner> = op(Div, 'inner', { a: any('x'), b: constant('root') });
const timesRoot: Pattern<Inner> = either(Mul, 'inner', { a: any('x'), b: constant('root') }, { a: constant('root'), b: any('x') });
const plusOne = (inner: Pattern<Inner>) => {
  const erf = op(Erf, 'erf', { input: inner });
  return either(Add, 'sum', { a: erf, b: constant('one') }, { a: constant('one'), b: erf });
};

interface ErfGelu extends Inner {
  readonly gelu: Mul;
  readonly half: Value;
  readonly one: Value;
}

/** The three ways to multiply x, 1/2 and (1 + erf). */
const spellings: readonly Pattern<ErfGelu>[] = [overRoot, timesRoot].flatMap((inner): Pattern<ErfGelu>[] => {
  const sum = plusOne(inner);
  const product = either(Mul, 'product', { a: any('x'), b: sum }, { a: sum, b: any('x') });
  const half = either(Mul, 'halved', { a: any('x'), b: constant('half') }, { a: constant('half'), b: any('x') });
  const halfSum = either(Mul, 'halved', { a: sum, b: constant('half') }, { a: constant('half'), b: sum });
  return [
    either(Mul, 'gelu', { a: product, b: constant('half') }, { a: constant('half'), b: product }),
    either(Mul, 'gelu', { a: half, b: sum }, { a: sum, b: half }),
    either(Mul, 'gelu', { a: any('x'), b: halfSum }, { a: halfSum, b: any('x') }),
  ];
});

/** x / 2 * (1 + erf(x / sqrt 2)) = Gelu(x). */
const erfRules = spellings.map((pattern) =>
  rule('raise-gelu-erf', pattern, ({ gelu, inner, x, half, one, root }, build) => {
    const factor = inner.node.op === 'Div' ? Math.SQRT2 : Math.SQRT1_2;
    return (
      unlike([
        [half, 0.5],
        [one, 1],
        [root, factor],
      ]) ?? become(build, gelu, x, 'none')
    );
  }),
);

const cube = op(Pow, 'power', { x: any('x'), y: constant('three') });
const cubic = either(Mul, 'cubic', { a: cube, b: constant('k') }, { a: constant('k'), b: cube });
const argument = either(Add, 'argument', { a: any('x'), b: cubic }, { a: cubic, b: any('x') });
const inside = either(Mul, 'inside', { a: argument, b: constant('c') }, { a: constant('c'), b: argument });
const halfX = either(Mul, 'halved', { a: any('x'), b: constant('half') }, { a: constant('half'), b: any('x') });

/** x / 2 * (1 + tanh(inside)). */
const ofTanh = <B>(inside: Pattern<B>) => {
  const tanh = op(Tanh, 'tanh', { input: inside });
  const sum = either(Add, 'sum', { a: tanh, b: constant('one') }, { a: constant('one'), b: tanh });
  return either(Mul, 'gelu', { a: halfX, b: sum }, { a: sum, b: halfX });
};

/** x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) = Gelu{approximate = tanh}(x). */
const tanhRule = rule('raise-gelu-tanh', ofTanh(inside), ({ gelu, x, half, one, three, k, c }, build) => {
  const numbers = [
    [half, 0.5],
    [one, 1],
    [three, 3],
    [k, 0.044715],
    [c, Math.sqrt(2 / Math.PI)],
  ] as const;
  return unlike(numbers) ?? become(build, gelu, x, 'tanh');
});

const timesK = either(Mul, 'times', { a: any('x'), b: constant('k') }, { a: constant('k'), b: any('x') });
const squared = either(Mul, 'squared', { a: timesK, b: any('x') }, { a: any('x'), b: timesK });
const plusSquare = either(Add, 'plus', { a: squared, b: constant('first') }, { a: constant('first'), b: squared });
const timesC = either(Mul, 'scaled', { a: any('x'), b: constant('c') }, { a: constant('c'), b: any('x') });
const factored = either(Mul, 'inside', { a: timesC, b: plusSquare }, { a: plusSquare, b: timesC });

/** x / 2 * (1 + tanh(sqrt(2 / pi) x (1 + 0.044715 x x))), as BLOOM has it. */
const factoredRule = rule('raise-gelu-tanh-factored', ofTanh(factored), ({ gelu, x, half, one, first, k, c }, build) => {
  const numbers = [
    [half, 0.5],
    [one, 1],
    [first, 1],
    [k, 0.044715],
    [c, Math.sqrt(2 / Math.PI)],
  ] as const;
  return unlike(numbers) ?? become(build, gelu, x, 'tanh');
});

function become(build: Builder, gelu: Mul, x: Value, approximate: 'none' | 'tanh'): void | Refusal {
  const made = build.make(Gelu, { x }, { attributes: { approximate: string(approximate) }, like: gelu.c, name: gelu.node.name });
  build.graph.replace(gelu.c, made.y);
}

/** Spellings of GELU. */
export const gelus: readonly RewriteRule[] = [...erfRules, tanhRule, factoredRule];
