import { fail } from '../diagnostics.ts';
import { dense, encodeFloats, generated, inMemory, lazy, type FileRange, type Tensor } from '../tensor.ts';
import { bitsOf, isFloat, isInteger, sizeOf, type DType } from '../types.ts';
import type { Lexer } from './lexer.ts';
import { floatText, random } from './numbers.ts';

/** Gives the data that text only names. */
export type TensorSource = (
  named: { readonly file: FileRange } | { readonly digest: string },
  dtype: DType,
  shape: readonly number[],
) => Tensor;

/** Reads `[1.0, 2.0]`, `splat 1.0`, `random 3`, `file "path" offset length` or `digest "hex"`. */
export function parseTensor(lexer: Lexer, dtype: DType, shape: readonly number[], source: TensorSource | null): Tensor {
  if (lexer.accept('splat')) return splat(dtype, shape, number(lexer));
  if (lexer.accept('random')) return uniform(dtype, shape, number(lexer));
  if (lexer.accept('digest')) {
    const at = lexer.location;
    const digest = lexer.unquote(lexer.word('a digest'));
    return source?.({ digest }, dtype, shape) ?? fail('QC1502', `the constant is only known by its digest ${digest}`, at);
  }
  if (lexer.accept('file')) {
    const at = lexer.location;
    const file = { path: lexer.unquote(lexer.word('a path')), offset: number(lexer), length: number(lexer) };
    return source?.({ file }, dtype, shape) ?? fail('QC1502', `the constant lies in ${file.path}, which is not at hand`, at);
  }
  return listed(lexer, dtype, shape);
}

function number(lexer: Lexer): number {
  const word = lexer.word('a number');
  const x = Number(word);
  return Number.isNaN(x) && word !== 'NaN' ? lexer.fail(`'${word}' is not a number`) : x;
}

const splat = (dtype: DType, shape: readonly number[], x: number): Tensor =>
  dtype === 'f32'
    ? generated(shape, `splat ${floatText(x)}`, () => new Float32Array(sizeOf(shape)).fill(x))
    : lazy(dtype, shape, () =>
        store(
          dtype,
          Array.from({ length: sizeOf(shape) }, () => x),
        ),
      );

const uniform = (dtype: DType, shape: readonly number[], seed: number): Tensor =>
  dtype === 'f32'
    ? generated(shape, `random ${seed}`, () => Float32Array.from({ length: sizeOf(shape) }, random(seed)))
    : lazy(dtype, shape, () => encodeFloats(dtype, Float32Array.from({ length: sizeOf(shape) }, random(seed))));

function listed(lexer: Lexer, dtype: DType, shape: readonly number[]): Tensor {
  const words: string[] = [];
  lexer.list('[', ']', () => {
    checkElement(lexer, dtype);
    words.push(lexer.word('a number'));
  });
  if (words.length !== sizeOf(shape)) lexer.fail(`${sizeOf(shape)} elements needed, ${words.length} given`);
  if (dtype === 'i64') return inMemory('i64', shape, BigInt64Array.from(words, BigInt));
  if (dtype === 'u64') return inMemory('u64', shape, BigUint64Array.from(words, BigInt));
  const values = words.map(Number);
  return dtype === 'f32' ? dense(shape, values) : inMemory(dtype, shape, store(dtype, values));
}

/** Fails at the next word unless it is an element of `dtype`. */
function checkElement(lexer: Lexer, dtype: DType): void {
  const word = lexer.peek;
  if (!/^[\w.+-]/.test(word)) return;
  if (!isInteger(dtype) && dtype !== 'bool')
    return Number.isNaN(Number(word)) && word !== 'NaN' ? lexer.fail(`'${word}' is not a number`) : undefined;
  if (!/^[+-]?\d+$/.test(word)) lexer.fail(`'${word}' is not an integer`);
  const span = dtype === 'bool' ? 2n : 2n ** BigInt(bitsOf(dtype));
  const least = dtype.startsWith('i') ? -span / 2n : 0n;
  if (BigInt(word) < least || BigInt(word) >= least + span) lexer.fail(`${word} does not fit ${dtype}`);
}

function store(dtype: DType, values: readonly number[]) {
  if (dtype === 'f64') return Float64Array.from(values);
  if (isFloat(dtype)) return encodeFloats(dtype, Float32Array.from(values));
  switch (dtype) {
    case 'i64':
      return BigInt64Array.from(values, BigInt);
    case 'u64':
      return BigUint64Array.from(values, BigInt);
    case 'i32':
      return Int32Array.from(values);
    case 'u32':
      return Uint32Array.from(values);
    case 'i16':
      return Int16Array.from(values);
    case 'u16':
      return Uint16Array.from(values);
    case 'i8':
      return Int8Array.from(values);
    case 'u8':
    case 'bool':
      return Uint8Array.from(values);
    default:
      return fail('QC1501', `cannot read elements of ${dtype} from text`);
  }
}
