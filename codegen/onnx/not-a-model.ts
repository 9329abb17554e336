import { closeSync, existsSync, openSync, readSync } from 'node:fs';
import { basename, extname } from 'node:path';
import { diagnostic, QcError } from '../../ir/diagnostics.ts';

/** The error of a file that is no ONNX model (QC4101), which says what the file is instead, where its bytes show that; any other error as it is. */
export function explained(error: unknown, path: string): unknown {
  if (!(error instanceof QcError) || error.code !== 'QC4101') return error;
  const { message, at } = error.diagnostics[0]!;
  const found = sideFile(path) ?? weights(path);
  return found === null ? error : new QcError([diagnostic('QC4101', found.what, at, { notes: [message], hint: found.hint })]);
}

interface Finding {
  readonly what: string;
  readonly hint: string;
}

/** `model.onnx.data`, or `model.onnx_data` as optimum writes it. */
function sideFile(path: string): Finding | null {
  const model = /^(.+\.onnx)[._]data$/.exec(path)?.[1];
  if (model === undefined) return null;
  const hint = existsSync(model)
    ? `give the model beside it: ${model}`
    : `give the model that names it; there is no ${basename(model)} beside it`;
  return { what: 'this file holds the weights of an ONNX model, without the graph', hint };
}

interface Format {
  readonly name: string;
  readonly extensions: readonly string[];
  /** What the file begins with. */
  readonly begins: (head: Buffer) => boolean;
}

const starts =
  (...beginnings: readonly string[]) =>
  (head: Buffer): boolean =>
    beginnings.some((text) => head.subarray(0, text.length).equals(Buffer.from(text, 'latin1')));

/** The header of safetensors, an object of JSON, comes behind its length; nobody has one of 4 GiB. */
const hasHeader = (head: Buffer): boolean => head.length > 8 && head.readUInt32LE(4) === 0 && head[8] === '{'.charCodeAt(0);

// The order matters for what has no known extension: an archive or a pickle is most likely from PyTorch.
const formats: readonly Format[] = [
  { name: 'safetensors', extensions: ['.safetensors'], begins: hasHeader },
  { name: 'GGUF', extensions: ['.gguf'], begins: starts('GGUF') },
  { name: 'PyTorch', extensions: ['.pt', '.pth', '.bin', '.ckpt'], begins: starts('PK\x03\x04', '\x80\x02', '\x80\x03', '\x80\x04') },
];

function weights(path: string): Finding | null {
  const head = headOf(path);
  const format = formats.find((f) => f.begins(head)) ?? formats.find((f) => f.extensions.includes(extname(path).toLowerCase()));
  return format ? { what: `this is a file of weights, of ${format.name}, without a graph`, hint } : null;
}

const hint = 'export the model to ONNX first: optimum-cli export onnx --model FOLDER OUTPUT, or torch.onnx.export';

function headOf(path: string): Buffer {
  const head = Buffer.alloc(16);
  const fd = openSync(path, 'r');
  try {
    return head.subarray(0, readSync(fd, head));
  } finally {
    closeSync(fd);
  }
}
