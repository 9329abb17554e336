// Plain JavaScript, because a child process starts from a file that Node runs as it is, under jest and tsx as well as from dist.
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { packed, unpacked } from './exchange.mjs';

/** @import { InferenceSession, Tensor } from 'onnxruntime-node' */
/** @import { Answer, Memory, OpenedSession, PackedTensors, Reply, Request, SessionSettings, Stepped, WirePort, WireTensor } from './process-messages.ts' */

/** The folder of large arrays, and the loader of the kernels where there is one. */
const [folder = '', loader] = process.argv.slice(2);

/** @type {Map<number, InferenceSession>} */
const sessions = new Map();
/** Inputs of the next step of a session. @type {Map<number, Record<string, Tensor>>} */
const carried = new Map();
/** @type {Set<number>} */
const profiled = new Set();
let opened = 0;

// A terminal sends its signals to all processes, but the one that started us decides; we end with it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {});
process.on('disconnect', () => process.exit());
process.on('message', (/** @type {Request} */ request) => void answered(request));

/** @type {(request: Request) => Promise<void>} */
async function answered(request) {
  try {
    send({ kind: 'done', answer: await perform(request) });
  } catch (error) {
    send({ kind: 'failed', ...described(error) });
  }
}

/** @type {(error: unknown) => { message: string, code: string | null }} */
function described(error) {
  if (!(error instanceof Error)) return { message: String(error), code: null };
  return { message: error.message, code: 'code' in error && typeof error.code === 'string' ? error.code : null };
}

/** @type {(reply: Reply) => void} */
function send(reply) {
  process.send?.(reply);
}

/** @type {(request: Request) => Promise<Answer>} */
function perform(request) {
  switch (request.kind) {
    case 'open':
      return open(request);
    case 'run':
      return run(request);
    case 'step':
      return step(request);
    case 'time':
      return time(request);
    case 'memory':
      return memory();
    case 'close':
      return close(request);
  }
}

/** @type {(request: Extract<Request, { kind: 'open' }>) => Promise<OpenedSession>} */
async function open({ path, root, settings }) {
  const { InferenceSession } = await runtime();
  const start = performance.now();
  const options = { ...settings, logSeverityLevel: /** @type {const} */ (4) };
  // ONNX Runtime takes a folder for side files only with a model that it does not read from a file itself.
  const session = await (root === undefined
    ? InferenceSession.create(path, options)
    : InferenceSession.create(readFileSync(path), { ...options, extra: { ...settings.extra, session: inFolder(settings, root) } }));
  const milliseconds = performance.now() - start;
  sessions.set(++opened, session);
  if (settings.enableProfiling) profiled.add(opened);
  const [inputs, outputs] = [session.inputMetadata.map(portOf), session.outputMetadata.map(portOf)];
  return { session: opened, inputs, outputs, milliseconds };
}

/** @type {(settings: SessionSettings, root: string) => Record<string, string>} */
const inFolder = ({ extra }, root) => ({ ...extra.session, model_external_initializers_file_folder_path: root });

/** @type {Promise<typeof import('onnxruntime-node')> | null} */
let loading = null;
const runtime = () => (loading ??= loadRuntime());

async function loadRuntime() {
  if (loader !== undefined) process.dlopen({ exports: {} }, loader, constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL);
  const loaded = await import('onnxruntime-node');
  // Every refusal comes back as a message; ONNX Runtime's own log would say it a second time on the terminal.
  loaded.env.logLevel = 'fatal';
  return loaded;
}

/** @type {(port: InferenceSession.ValueMetadata) => WirePort} */
function portOf(port) {
  return port.isTensor ? { name: port.name, type: port.type, shape: port.shape } : { name: port.name, type: null, shape: [] };
}

/** @type {(request: Extract<Request, { kind: 'run' }>) => Promise<PackedTensors>} */
async function run({ session, feeds }) {
  return sent(Object.entries(await sessionOf(session).run(await tensorsOf(feeds))));
}

/** @type {(results: readonly [string, Tensor][]) => PackedTensors} */
const sent = (results) => packed(Object.fromEntries(results.map(([name, tensor]) => [name, wired(tensor)])), folder);

/** @type {(request: Extract<Request, { kind: 'step' }>) => Promise<Stepped>} */
async function step({ session, feeds, carry }) {
  const [target, tensors] = [sessionOf(session), { ...carried.get(session), ...(await tensorsOf(feeds)) }];
  const start = performance.now();
  const results = Object.entries(await target.run(tensors));
  const milliseconds = performance.now() - start;
  carried.set(session, Object.fromEntries(results.flatMap(([name, tensor]) => (carry[name] === undefined ? [] : [[carry[name], tensor]]))));
  return { outputs: sent(results.filter(([name]) => carry[name] === undefined)), milliseconds };
}

/** @type {(request: Extract<Request, { kind: 'time' }>) => Promise<number>} */
async function time({ session, feeds }) {
  const [target, tensors] = [sessionOf(session), await tensorsOf(feeds)];
  const start = performance.now();
  await target.run(tensors);
  return performance.now() - start;
}

/** @type {(session: number) => InferenceSession} */
function sessionOf(session) {
  const found = sessions.get(session);
  if (!found) throw new Error('the session is closed');
  return found;
}

/** @type {(feeds: PackedTensors) => Promise<Record<string, Tensor>>} */
async function tensorsOf(feeds) {
  const { Tensor } = await runtime();
  return Object.fromEntries(Object.entries(unpacked(feeds)).map(([name, t]) => [name, new Tensor(t.type, t.data, t.dims)]));
}

/** @type {(tensor: Tensor) => WireTensor} */
function wired(tensor) {
  const { type, data } = tensor;
  if (type === 'string' || type === 'int4' || type === 'uint4' || !ArrayBuffer.isView(data)) throw new Error(`cannot return ${type} data`);
  // Where JavaScript has Float16Array (Node 24), ONNX Runtime gives that.
  const plain = type === 'float16' ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data;
  return { type, dims: tensor.dims, data: /** @type {WireTensor['data']} */ (plain) };
}

/** @type {() => Promise<Memory>} */
async function memory() {
  await runtime();
  return resident();
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

/** @type {(request: Extract<Request, { kind: 'close' }>) => Promise<null>} */
async function close({ session }) {
  const found = sessions.get(session);
  sessions.delete(session);
  carried.delete(session);
  if (profiled.delete(session)) found?.endProfiling();
  await found?.release();
  return null;
}
