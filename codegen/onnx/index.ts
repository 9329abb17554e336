export { readModel, readModelBytes, type ReadOptions } from './import.ts';
export { checkReplaceable, replaceFiles } from './write-files.ts';
export { encodeGraph, stageModel, writeForRuntime, writeModel, type StagedModel, type WriteOptions, type WriteResult } from './export.ts';
