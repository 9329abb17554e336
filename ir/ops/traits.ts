/**
 * What a function of single elements keeps. `monotone`: the order of numbers; `homogeneous`: f(k x) = k f(x) for k > 0; `linear`: for
 * every k; `any`: nothing of these.
 */
export type Elementwise = 'any' | 'monotone' | 'homogeneous' | 'linear';

/** What holds of an operator by its definition, wherever it stands. A trait that is missing does not hold. */
export interface Traits {
  /** It applies one function to each element of its only operand. */
  readonly elementwise?: Elementwise;
  /** Its result holds the elements of its first operand and no others: `all` of them in their order, or `some`, moved or repeated. */
  readonly holds?: 'all' | 'some';
  /** Its results are no function of its operands. */
  readonly random?: true;
  /** It reads the extents of its operand, and no element. */
  readonly readsExtents?: true;
  /** It is an identity that says where a value is quantized or observed. */
  readonly marks?: true;
}

const table = (names: string, traits: Traits): Readonly<Record<string, Traits>> =>
  Object.fromEntries(names.split(' ').map((op) => [op, traits]));

/** Traits by operator; passes and targets keep no lists of their own for these. */
export const traits: Readonly<Record<string, Traits>> = {
  ...table('Relu LeakyRelu', { elementwise: 'homogeneous' }),
  ...table('Gelu', { elementwise: 'any' }),
  ...table('Sigmoid Tanh Erf', { elementwise: 'monotone' }),
  ...table('Identity Cast Reshape Flatten Squeeze Unsqueeze', { holds: 'all' }),
  ...table('Transpose Expand Tile Split Slice Gather GatherElements GatherND', { holds: 'some' }),
  ...table('RandomNormal RandomNormalLike RandomUniform RandomUniformLike Multinomial Bernoulli', { random: true }),
  ...table('Shape Size', { readsExtents: true }),
  ...table('qc.Site qc.Observer', { marks: true }),
};

const none: Traits = {};

/** The traits of an operator; of one that is not in the table, none. */
export const traitsOf = (op: string): Traits => (Object.hasOwn(traits, op) ? traits[op]! : none);

/** The operators of which something holds, in the order of the table. */
export const operatorsWith = (holds: (traits: Traits) => boolean): readonly string[] =>
  Object.entries(traits).flatMap(([op, t]) => (holds(t) ? [op] : []));
