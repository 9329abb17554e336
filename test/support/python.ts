import { spawnSync } from 'node:child_process';
import { test } from '@jest/globals';

/** A Python with onnx, onnxruntime and numpy; .ci/run installs one. */
export const casesPython = process.env['QC_CASES_PYTHON'] ?? '';

const has = casesPython !== '' && spawnSync(casesPython, ['-c', 'import numpy, onnx, onnxruntime']).status === 0;

/** Why tests that need it are skipped; empty where it is at hand. */
export const noPython = has ? '' : ' (skipped: QC_CASES_PYTHON names no Python with onnx, onnxruntime and numpy)';
export const testWithPython = has ? test : test.skip;
