import { fail, unknownLocation, type Location } from '../../ir/diagnostics.ts';
import { formatType, isFloat, type TensorType } from '../../ir/types.ts';

/** An input of the model, as its graph declares it. */
export interface ModelInput extends TensorType {
  readonly name: string;
}

/** The inputs of a model, and the two among them that the others depend on. */
export interface ModelInputs {
  readonly all: readonly ModelInput[];
  /** The input that takes the ids of tokens; null when the model has none, or several that may be the one. */
  readonly tokens: ModelInput | null;
  /** The input that marks padding with 0; null when the model has none. */
  readonly mask: ModelInput | null;
}

/** Names of inputs that the user gives where the model's own names say too little. */
export interface InputNames {
  /** The input that takes the ids of tokens. */
  readonly input?: string | undefined;
  /** The input that marks padding with 0. */
  readonly mask?: string | undefined;
}

/** What an input is for, as far as `qc` can make it from the tokens. */
export type InputRole = 'tokens' | 'mask' | 'positions' | 'token-types' | 'cache' | 'cache-branch';

const usualNames: readonly (readonly [InputRole, RegExp])[] = [
  ['tokens', /^input_ids$/],
  ['mask', /^(attention|input|padding)_mask$/],
  ['positions', /^position(_id)?s$/],
  ['token-types', /^(token_type|segment)_ids$/],
  ['cache', /^(past|cache)[._]/],
  ['cache-branch', /^use_cache_branch$/],
];

/** Integers that go in beside tokens, under whatever name. */
const besideTokens = /mask|posit|type|segment|past|length/i;

/** Finds the token input and the mask: those that the user names, or else those of the usual names. QC2103 for a name that no input has. */
export function modelInputs(all: readonly ModelInput[], { input, mask }: InputNames = {}): ModelInputs {
  const masking = mask === undefined ? (all.find((i) => usualRole(i) === 'mask') ?? null) : inputNamed(mask, all);
  const [only = null, ...others] = tokenCandidates(all, masking);
  return { all, tokens: input === undefined ? (others.length === 0 ? only : null) : inputNamed(input, all), mask: masking };
}

/** What an input of the model is for; null for one that the tokens say nothing about. */
export function roleOf(input: ModelInput, { tokens, mask }: ModelInputs): InputRole | null {
  if (input.name === tokens?.name) return 'tokens';
  return input.name === mask?.name ? 'mask' : usualRole(input);
}

/** The input that takes tokens; QC2110 when there is none, or when several may be the one. */
export function requireTokens({ all, tokens, mask }: ModelInputs, at: Location): ModelInput {
  if (tokens) return tokens;
  const candidates = tokenCandidates(all, mask);
  const listed = (candidates.length > 0 ? candidates : all).map((i) => `${i.name}: ${formatType(i)}`);
  if (candidates.length > 0)
    fail('QC2110', `the model has ${candidates.length} inputs that may take the tokens`, at, {
      notes: listed,
      hint: `name the one with --input, as in --input '${candidates[0]!.name}'`,
    });
  return fail('QC2110', 'text needs an input that takes tokens, and the model has none', at, {
    notes: listed,
    hint: 'give arrays for these inputs as .npz or .jsonl, or name the input with --input',
  });
}

/** Throws QC2103 for names that no input of the model has. */
export function checkNames(names: readonly string[], inputs: readonly ModelInput[], at: Location): void {
  const unknown = names.filter((name) => !inputs.some((input) => input.name === name));
  if (unknown.length > 0)
    fail('QC2103', `the model has no input ${unknown.map((name) => `"${name}"`).join(', ')}`, at, {
      notes: [`inputs of the model: ${inputs.map((input) => input.name).join(', ')}`],
    });
}

function inputNamed(name: string, all: readonly ModelInput[]): ModelInput {
  checkNames([name], all, unknownLocation);
  return all.find((input) => input.name === name)!;
}

/** The input of the usual name alone, or else all integers [batch, seq] that are nothing else. */
function tokenCandidates(all: readonly ModelInput[], mask: ModelInput | null): readonly ModelInput[] {
  const usual = all.find((input) => usualRole(input) === 'tokens');
  if (usual) return [usual];
  return all.filter(
    ({ name, dtype, shape }) =>
      (dtype === 'i64' || dtype === 'i32') && (shape?.length ?? 2) === 2 && name !== mask?.name && !besideTokens.test(name),
  );
}

/** Exporters number names that they meet twice (`input_ids.1`) and results of nodes (`input_ids:0`). */
function usualRole({ name, dtype }: ModelInput): InputRole | null {
  const bare = name.replace(/[.:]\d+$/, '');
  const role = usualNames.find(([, pattern]) => pattern.test(bare))?.[0] ?? null;
  return role === 'cache' && !isFloat(dtype) ? null : role;
}
