// Plain JavaScript, as session-worker.mjs: the child process in which fresh-process.ts runs a model alone.
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';

/** @import { InferenceSession } from 'onnxruntime-node' */
/** @import { FreshReply, FreshRun } from './fresh-process.ts' */

/** @type {'load' | 'run'} */
let doing = 'load';

process.once('message', (/** @type {FreshRun} */ run) => {
  perform(run).then(send, (/** @type {unknown} */ error) =>
    send({ doing, failed: error instanceof Error ? error.message : String(error) }),
  );
});

/** @type {(run: FreshRun) => Promise<FreshReply>} */
async function perform({ path, loader, settings, feeds, runs, profile }) {
  if (loader !== null) process.dlopen({ exports: {} }, loader, constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL);
  const { InferenceSession, Tensor, env } = await import('onnxruntime-node');
  env.logLevel = 'fatal';
  /** @type {InferenceSession.SessionOptions} */
  const options = profile === null ? {} : { enableProfiling: true, profileFilePrefix: profile };
  const empty = resident().now;
  const start = performance.now();
  const session = await InferenceSession.create(path, { ...settings, ...options, logSeverityLevel: 4 });
  const milliseconds = performance.now() - start;
  const loaded = resident().now;
  doing = 'run';
  const tensors = Object.fromEntries(Object.entries(feeds).map(([name, t]) => [name, new Tensor(t.type, t.data, t.dims)]));
  for (let run = 0; run < runs; run++) await session.run(tensors);
  if (profile !== null) session.endProfiling();
  return { milliseconds, memory: { empty, loaded, peak: resident().peak } };
}

/** Bytes of memory that this process has, and has had at most. What getrusage calls the peak may be that of the parent process. */
function resident() {
  const status = existsSync('/proc/self/status') ? readFileSync('/proc/self/status', 'utf8') : '';
  const kilobytes = (/** @type {string} */ key) => Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? NaN);
  const [now, peak] = [kilobytes('VmRSS'), kilobytes('VmHWM')];
  return {
    now: Number.isNaN(now) ? process.memoryUsage.rss() : now * 1024,
    peak: (Number.isNaN(peak) ? process.resourceUsage().maxRSS : peak) * 1024,
  };
}

/** @type {(reply: FreshReply) => void} */
function send(reply) {
  process.send?.(reply, () => process.disconnect());
}
