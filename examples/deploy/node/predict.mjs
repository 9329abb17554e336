/** The next token by a compiled model in stock onnxruntime-node: node predict.mjs MODEL.onnx TOKENIZER.json TEXT */
import { readFileSync } from 'node:fs';
// Before onnxruntime-node.
import { kernels } from '@onnx-qc/qc/runtime';
import { Tokenizer } from '@huggingface/tokenizers';
import ort from 'onnxruntime-node';

const [model = '', tokenizerFile = '', text = ''] = process.argv.slice(2);
const tokenizer = new Tokenizer(JSON.parse(readFileSync(tokenizerFile, 'utf8')), {});
/** @type {readonly number[]} */
const ids = tokenizer.encode(text, { add_special_tokens: false }).ids;

const ways = { 'function bodies': {}, ...(kernels.library === null ? {} : { [`kernels ${kernels.level}`]: kernels.sessionOptions() }) };
console.log(`text: ${ids.join(' ')}`);
if (kernels.missing !== null) console.log(`kernels: ${kernels.missing}`);
for (const [way, options] of Object.entries(ways)) {
  const session = await ort.InferenceSession.create(model, { intraOpNumThreads: 1, ...options });
  const start = performance.now();
  const { logits } = await session.run(feedsFor(session));
  const milliseconds = (performance.now() - start).toFixed(1);
  const next = likeliest(/** @type {ort.TypedTensor<'float32'>} */ (logits));
  console.log(`${way}: next token ${next} ${JSON.stringify(tokenizer.decode([next]))}, ${milliseconds} ms`);
  await session.release();
}

/**
 * @param {ort.InferenceSession} session
 * @returns {Record<string, ort.Tensor>}
 */
function feedsFor({ inputNames }) {
  const all = { input_ids: ids, attention_mask: ids.map(() => 1), position_ids: ids.map((_, i) => i) };
  const wanted = Object.entries(all).filter(([name]) => inputNames.includes(name));
  return Object.fromEntries(wanted.map(([name, row]) => [name, new ort.Tensor('int64', BigInt64Array.from(row, BigInt), [1, row.length])]));
}

/** @param {ort.TypedTensor<'float32'>} logits */
function likeliest({ data, dims }) {
  const last = data.subarray(data.length - (dims.at(-1) ?? 0));
  return last.reduce((best, x, i) => (x > (last[best] ?? -Infinity) ? i : best), 0);
}
