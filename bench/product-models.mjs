/**
 * Writes the models of bench/products.mjs to a folder, for kernels/emulate/count.cc: node bench/product-models.mjs FOLDER [SIZE]
 * Files are named by what they hold, in small letters with dashes.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { products } from './products.mjs';

const [folder, size = '2048'] = process.argv.slice(2);
if (folder === undefined) throw new Error('use: node bench/product-models.mjs FOLDER [SIZE]');
mkdirSync(folder, { recursive: true });
for (const [name, model] of Object.entries(products(Number(size))))
  writeFileSync(join(folder, `${name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-')}.onnx`), model);
