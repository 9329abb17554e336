/** ESM throughout: run with `npm test`, which passes the flag that jest needs for it. */
export default {
  testMatch: ['<rootDir>/test/**/*.test.ts'],
  testEnvironment: '<rootDir>/test/support/environment.cjs',
  moduleNameMapper: { '^@onnx-qc/qc$': '<rootDir>/src/index.ts', '^@onnx-qc/qc/testing$': '<rootDir>/src/testing.ts' },
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '\\.ts$': '<rootDir>/test/support/transform.cjs' },
  workerIdleMemoryLimit: '1GB',
  maxWorkers: 2,
  maxConcurrency: 2,
  testTimeout: 60_000,
};
