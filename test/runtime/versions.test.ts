import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { fixture, qc, removeTemporary, root } from '../cli/binary.ts';
import { scratch } from '../data/arrays.ts';

/** Pythons with the versions of onnxruntime, separated as in PATH; .ci/run installs them. */
const pythons = (process.env['QC_ORT_PYTHONS'] ?? '').split(':').filter((path) => path !== '');

const library = join(root, 'kernels/build/libqc_kernels.so');
const withLibrary = existsSync(library);

/** The minor version of ONNX Runtime 1 from which models run; docs/architecture.md has the same table. `qc-cuda` is as `qc-cpu`. */
const oldest = {
  portable: { w8a8: 19, w4a8: 23, w4a16: 23 },
  'ort-cpu': { w8a8: 19, w4a8: 23, w4a16: 19 },
  'ort-cuda': { w8a8: 23, w4a8: 19, w4a16: 19 },
  'qc-cpu': { w8a8: 19, w4a8: 19, w4a16: 19 },
} as const;
/** The option that makes products of bytes exact where x86 has no VNNI; ONNX Runtime 1.19 to 1.22 end the process over it. */
const exactFrom = 23;

interface Case {
  readonly target: string;
  readonly scheme: string;
  /** As versions.py takes it. */
  readonly model: string;
  readonly from: number;
}

const folder = scratch();
const rows = Array.from({ length: 6 }, (_, i) =>
  JSON.stringify({ input_ids: Array.from({ length: 12 }, (_, j) => (i * 37 + j * 11) % 380) }),
);
const calibration = folder.file('calib.jsonl', rows.join('\n'));
const float = fixture('opt-tiny-op13');

const pathOf = (target: string, scheme: string): string => join(dirname(calibration), `${target}-${scheme}.onnx`);
const compiled = Object.entries(oldest).flatMap(([target, schemes]) =>
  Object.entries(schemes).map(([scheme, from]): Case => ({ target, scheme, model: pathOf(target, scheme), from })),
);
const onKernels = compiled
  .filter(({ target }) => withLibrary && target === 'qc-cpu')
  .map((c): Case => ({ ...c, target: 'qc-cpu on the kernels', model: `library:${c.model}` }));
const exact = compiled
  .filter(({ target }) => target === 'ort-cpu')
  .map((c): Case => ({ ...c, target: 'ort-cpu, exact', model: `exact:${c.model}`, from: exactFrom }));
const cases = [...compiled, ...onKernels, ...exact];

interface Found {
  readonly version: string;
  readonly cosines: Readonly<Record<string, number | string>>;
}

afterAll(() => {
  folder.remove();
  removeTemporary();
});

const withVersions = pythons.length > 0 ? describe : describe.skip;

withVersions(`compiled models in other versions of ONNX Runtime${pythons.length > 0 ? '' : ' (skipped without QC_ORT_PYTHONS)'}`, () => {
  beforeAll(async () => {
    const data = ['--calib', calibration, '--seq', '12', '--samples', '6', '--threads', '1'];
    for (const { target, scheme, model } of compiled) {
      const { code, stderr } = await qc([
        'compile',
        float,
        '-p',
        'rptq,os+',
        '--scheme',
        scheme,
        '--target',
        target,
        ...data,
        '-o',
        model,
        '--quiet',
      ]);
      expect({ code, stderr }).toMatchObject({ code: 0 });
    }
  }, 300_000);

  test.each(pythons)(
    '%s: those that its version should run are near the float model',
    async (python) => {
      const script = join(root, 'test/runtime/versions.py');
      const { stdout } = await promisify(execFile)(python, [script, library, float, ...cases.map((c) => c.model)]);
      const { version, cosines } = JSON.parse(stdout) as Found;
      const minor = Number(version.split('.')[1]);
      const wrong = cases
        .filter(({ from }) => minor >= from)
        .map(({ target, scheme, model }) => ({ target, scheme, version, found: cosines[model] }))
        .filter(({ found }) => typeof found !== 'number' || !(found > 0.93));
      expect(wrong).toEqual([]);
    },
    300_000,
  );
});
