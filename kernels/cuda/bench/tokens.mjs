/**
 * Windows of a text as an array of numpy: node tokens.mjs MODEL TEXT TOKENIZER SEQ WINDOWS OUT.npy
 */
import { writeFileSync } from 'node:fs';
import { readModel, samplesFor } from '../../../dist/src/index.js';

const [model = '', text = '', tokenizer, seq, windows, out = ''] = process.argv.slice(2);
const samples = await samplesFor(readModel(model), { files: [text], tokenizer, seq: Number(seq), samples: Number(windows) });
const rows = samples.map((sample) => {
  const ids = /** @type {BigInt64Array} */ (sample['input_ids']?.data);
  return Buffer.from(ids.buffer, ids.byteOffset, ids.byteLength);
});

const header = `{'descr': '<i8', 'fortran_order': False, 'shape': (${windows}, ${seq}), }`;
// The values begin at a multiple of 64 bytes: magic and version, the header's length, the header and its end of line.
const length = Math.ceil((10 + header.length + 1) / 64) * 64 - 10;
const start = Buffer.alloc(10, '\x93NUMPY\x01\x00', 'latin1');
start.writeUInt16LE(length, 8);
writeFileSync(out, Buffer.concat([start, Buffer.from(`${header.padEnd(length - 1)}\n`), ...rows]));
