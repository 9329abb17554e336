/**
 * Time of one forward pass, model against model, in one process: node bench/latency.mjs BASE.onnx OTHER.onnx... [--seq 256] [--runs 15]
 * Runs take turns, so that a busy machine slows all of them; ratios are of medians, one thread.
 */
import { parseArgs } from 'node:util';
import ort from 'onnxruntime-node';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seq: { type: 'string', default: '256' }, runs: { type: 'string', default: '15' } },
});
const [seq, runs] = [Number(values.seq), Number(values.runs)];
const ids = BigInt64Array.from({ length: seq }, (_, i) => BigInt((i * 37) % 300));
/** @param {ort.InferenceSession} session */
const feedsFor = (session) =>
  Object.fromEntries(
    session.inputNames.map((name) => [
      name,
      new ort.Tensor('int64', name === 'input_ids' ? ids : new BigInt64Array(seq).fill(name.includes('mask') ? 1n : 0n), [1, seq]),
    ]),
  );
/** @type {{ path: string, session: ort.InferenceSession, feeds: Record<string, ort.Tensor>, times: number[] }[]} */
const sessions = [];
for (const path of positionals) {
  const session = await ort.InferenceSession.create(path, { intraOpNumThreads: 1, interOpNumThreads: 1 });
  sessions.push({ path, session, feeds: feedsFor(session), times: [] });
}
for (let run = -2; run < runs; run++) {
  for (const s of sessions) {
    const start = performance.now();
    await s.session.run(s.feeds);
    if (run >= 0) s.times.push(performance.now() - start);
  }
}
/** @param {readonly number[]} v */
const median = (v) => v.toSorted((a, b) => a - b)[v.length >> 1] ?? NaN;
const base = median(sessions[0]?.times ?? []);
for (const { path, times } of sessions) {
  const sorted = times.toSorted((a, b) => a - b);
  console.log(
    `${path}: median ${median(times).toFixed(1)} ms (${sorted[0]?.toFixed(1)} to ${sorted.at(-1)?.toFixed(1)}), ${(median(times) / base).toFixed(2)} of the first`,
  );
}
