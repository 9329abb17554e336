// Plain JavaScript, because a worker starts from a file that Node runs as it is, under jest and tsx as well as from dist.
import { parentPort, workerData } from 'node:worker_threads';

/** @import { InferenceSession, Tensor } from 'onnxruntime-node' */
/** @import { Answer, Call, OpenedSession, Reply, Request, WirePort, WireTensor, WireTensors } from './messages.ts' */

const port = parentPort;
if (!port) throw new Error('session-worker.mjs runs as a worker thread only');

/** As in session-host.ts. */
const slots = { stopping: 0, busy: 1 };

/** @type {Map<number, InferenceSession>} */
const sessions = new Map();
let opened = 0;

/** @type {Int32Array} */
const state = workerData;
let queue = Promise.resolve();

// One call at a time, so that at most one is past the question whether to stop.
port.on('message', (/** @type {Call} */ call) => void (queue = queue.then(() => answered(call))));

/** @type {(call: Call) => Promise<void>} */
async function answered({ call, request }) {
  try {
    const answer = await unlessStopping(request);
    send({ call, kind: 'done', answer }, request.kind === 'run' ? buffersOf(/** @type {WireTensors} */ (answer)) : []);
  } catch (error) {
    send({ call, kind: 'failed', message: error instanceof Error ? error.message : String(error) }, []);
  }
}

/** @type {(request: Request) => Promise<Answer>} */
async function unlessStopping(request) {
  // First busy, then the question: the main thread first says stop, then looks whether we are busy.
  Atomics.store(state, slots.busy, 1);
  try {
    if (Atomics.load(state, slots.stopping) === 1) throw new Error('the executor is closed');
    return await perform(request);
  } finally {
    Atomics.store(state, slots.busy, 0);
    Atomics.notify(state, slots.busy);
  }
}

/** @type {(reply: Reply, transfer: ArrayBuffer[]) => void} */
function send(reply, transfer) {
  port?.postMessage(reply, transfer);
}

/** @type {(request: Request) => Promise<Answer>} */
function perform(request) {
  switch (request.kind) {
    case 'open':
      return open(request);
    case 'run':
      return run(request);
    case 'time':
      return time(request);
    case 'close':
      return close(request);
  }
}

/** @type {(request: Extract<Request, { kind: 'open' }>) => Promise<OpenedSession>} */
async function open({ path, settings }) {
  const { InferenceSession } = await runtime();
  const session = await InferenceSession.create(path, { ...settings, logSeverityLevel: 4 });
  sessions.set(++opened, session);
  return { session: opened, inputs: session.inputMetadata.map(described), outputs: session.outputMetadata.map(described) };
}

// Loaded inside a call: a thread that ends while it loads native code aborts the process too.
async function runtime() {
  const loaded = await import('onnxruntime-node');
  // Every refusal comes back as a message; ONNX Runtime's own log would say it a second time on the terminal.
  loaded.env.logLevel = 'fatal';
  return loaded;
}

/** @type {(port: InferenceSession.ValueMetadata) => WirePort} */
function described(port) {
  return port.isTensor ? { name: port.name, type: port.type, shape: port.shape } : { name: port.name, type: null, shape: [] };
}

/** @type {(request: Extract<Request, { kind: 'run' }>) => Promise<WireTensors>} */
async function run({ session, feeds }) {
  const results = await sessionOf(session).run(await tensorsOf(feeds));
  return Object.fromEntries(Object.entries(results).map(([name, tensor]) => [name, wired(tensor)]));
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

/** @type {(feeds: WireTensors) => Promise<Record<string, Tensor>>} */
async function tensorsOf(feeds) {
  const { Tensor } = await runtime();
  return Object.fromEntries(Object.entries(feeds).map(([name, t]) => [name, new Tensor(t.type, t.data, t.dims)]));
}

/** @type {(tensor: Tensor) => WireTensor} */
function wired(tensor) {
  const { type, data } = tensor;
  if (type === 'string' || type === 'int4' || type === 'uint4' || !ArrayBuffer.isView(data)) throw new Error(`cannot return ${type} data`);
  // Where JavaScript has Float16Array (Node 24), ONNX Runtime gives that.
  const plain = type === 'float16' ? new Uint16Array(data.buffer, data.byteOffset, data.length) : data;
  return { type, dims: tensor.dims, data: /** @type {WireTensor['data']} */ (plain) };
}

/** @type {(request: Extract<Request, { kind: 'close' }>) => Promise<null>} */
async function close({ session }) {
  await sessions.get(session)?.release();
  sessions.delete(session);
  return null;
}

/** @type {(tensors: WireTensors) => ArrayBuffer[]} */
function buffersOf(tensors) {
  return [...new Set(Object.values(tensors).map(({ data }) => data.buffer))].filter((buffer) => buffer instanceof ArrayBuffer);
}
