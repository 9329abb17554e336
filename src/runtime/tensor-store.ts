import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { rangeReader, stampFile } from '../../codegen/onnx/files.ts';
import { inFile, type Tensor } from '../../ir/tensor.ts';
import { inTemporary } from './machine-faults.ts';
import { temporaryFolders } from './temporary-folders.ts';

/** Tensors in files of a temporary folder, which is gone after `close`. */
export interface TensorStore {
  readonly store: (tensor: Tensor) => Tensor;
  close(): Promise<void>;
}

export function tensorStore(): TensorStore {
  const folders = temporaryFolders();
  let [folder, count]: [string | null, number] = [null, 0];
  return {
    store(tensor) {
      const path = join((folder ??= folders.make()), String(count++));
      const bytes = tensor.bytes();
      inTemporary(() => writeFileSync(path, bytes));
      return inFile(tensor.dtype, tensor.shape, { path, offset: 0, length: bytes.byteLength }, rangeReader(stampFile(path, 'QC4102')));
    },
    close: async () => folders.removeAll(),
  };
}
