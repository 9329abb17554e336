const { existsSync, mkdtempSync, rmSync } = require('node:fs');
const { constants, tmpdir } = require('node:os');
const { join } = require('node:path');
const { TestEnvironment } = require('jest-environment-node');

// jest runs tests in a realm of its own; onnxruntime-node accepts only typed arrays of the outer one.
const shared = {
  Float32Array,
  Float64Array,
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  BigInt64Array,
  BigUint64Array,
  ArrayBuffer,
  SharedArrayBuffer,
  DataView,
};

// Test files share a process, in which the loader of the kernels must come before onnxruntime-node.
const loader = join(__dirname, '../../kernels/build/qc_loader.node');
if (existsSync(loader)) process.dlopen({ exports: {} }, loader, constants.dlopen.RTLD_NOW | constants.dlopen.RTLD_GLOBAL);

/** Gives each test file a temporary folder of its own, so that files which run side by side do not see each other's. */
module.exports = class extends TestEnvironment {
  #outer = process.env['TMPDIR'];
  #folder = ownFolder();
  /** @param {ConstructorParameters<typeof TestEnvironment>} args */
  constructor(...args) {
    super(...args);
    Object.assign(this.global, shared);
    this.global.process.env['TMPDIR'] = this.#folder;
  }
  /** @override */
  async teardown() {
    await super.teardown();
    rmSync(this.#folder, { recursive: true, force: true });
    if (this.#outer === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = this.#outer;
  }
};

function ownFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'qc-test-'));
  process.env['TMPDIR'] = folder;
  return folder;
}
