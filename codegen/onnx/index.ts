export { readModel, readModelBytes, type ReadOptions } from './import.ts';
export { encodeGraph, writeModel, type WriteOptions, type WriteResult } from './export.ts';
