const { createTransformer } = require('@swc/jest');

// A test runs in a context of its own, where each use of a global is a call into Node, which makes inner loops many times slower. A binding
// of the module is as fast as it is elsewhere.
const names = [
  'Array',
  'BigInt',
  'BigInt64Array',
  'Float32Array',
  'Float64Array',
  'Infinity',
  'Int8Array',
  'Int32Array',
  'Map',
  'Math',
  'NaN',
  'Number',
  'Object',
  'Set',
  'String',
  'Uint8Array',
  'Uint16Array',
  'Uint32Array',
];
const bindings = `const ${names.map((name) => `${name} = globalThis.${name}`).join(', ')};`;

/** @type {import('@jest/transform').SyncTransformer} */
const swc = /** @type {any} */ (
  createTransformer({ jsc: { parser: { syntax: 'typescript' }, target: 'es2022' }, module: { type: 'es6' } })
);

/** @type {import('@jest/transform').SyncTransformer} */
module.exports = {
  process(...input) {
    const { code, ...rest } = swc.process(...input);
    return { ...rest, code: bindings + code };
  },
  getCacheKey: (...input) => `${swc.getCacheKey?.(...input)} ${bindings}`,
};
