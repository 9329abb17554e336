export type Severity = 'error' | 'warning' | 'note';

/** Which exit code of the command line an error leads to. */
export type Family = 'failure' | 'usage' | 'model' | 'gate' | 'internal';

export interface CodeEntry {
  readonly severity: Severity;
  readonly family: Family;
  readonly title: string;
  /** What the code means and what to do; `qc explain` and docs/diagnostics.md print it. */
  readonly page: string;
}

const entry = (severity: Severity, family: Family, title: string, page: string): CodeEntry => ({ severity, family, title, page });

/** Every diagnostic of `qc`: 1xxx the IR, 2xxx pipelines and inputs, 3xxx passes, 4xxx ONNX in and out, 5xxx the runtime, 9xxx bugs in `qc`. */
export const codes = {
  QC1001: entry(
    'error',
    'internal',
    'operand out of range',
    'A pass addressed an operand that the node does not have. This is a bug in the pass.',
  ),
  QC1002: entry(
    'error',
    'internal',
    'erased a node in use',
    'A pass erased a node whose result is still read. Redirect the uses first (`graph.replaceUses`).',
  ),
  QC1101: entry('error', 'internal', 'not a permutation', 'An order of channels must name every channel exactly once.'),
  QC1102: entry(
    'error',
    'internal',
    'channel transform cannot be inverted',
    'A scale is zero or not finite. Clamp widths before building the transform.',
  ),
  QC1103: entry(
    'error',
    'internal',
    'channel counts differ',
    'Two channel transforms, or a transform and a tensor, have different numbers of channels.',
  ),
  QC1201: entry(
    'error',
    'model',
    'missing operand',
    'A node lacks an operand that its operator requires. The model is damaged or was cut wrongly.',
  ),
  QC1202: entry('error', 'model', 'wrong attribute kind', 'An attribute has another kind than the operator defines. The model is damaged.'),
  QC1301: entry(
    'error',
    'internal',
    'rule changed nothing',
    'A rewrite rule said that it applied but left the graph as it was. Return `refuse(...)` instead.',
  ),
  QC1302: entry('error', 'internal', 'rules do not settle', 'A set of rewrite rules keeps firing. Two rules probably undo each other.'),
  QC1401: entry(
    'error',
    'internal',
    'graph invariant broken',
    'After a pass the graph is not well formed: a value is used before it is defined, a name is used twice, or a use list is wrong.',
  ),
  QC1501: entry(
    'error',
    'usage',
    'text does not parse',
    'The `.qcir` text is not well formed; the place is in the message. See docs/text-format.md.',
  ),
  QC1502: entry(
    'error',
    'usage',
    'constant is only a digest',
    'Large constants print as a digest, which names data without holding it. Give the reader the data, or edit the ONNX model instead.',
  ),
  QC1601: entry(
    'error',
    'model',
    'tensor data does not fit its type',
    'The bytes of a tensor are fewer or more than its shape and element type need. The file is truncated or damaged.',
  ),
  QC1602: entry(
    'error',
    'failure',
    'element type not supported here',
    'This operation reads f32, f16, bf16 or f64 data and met another element type.',
  ),
  QC2001: entry(
    'error',
    'usage',
    'pipeline does not parse',
    'A pipeline is `pass{option=value option=value},pass,...`. The caret shows the place.',
  ),
  QC2002: entry('error', 'usage', 'unknown option', 'The pass has no option of this name. `qc passes NAME` lists its options.'),
  QC2003: entry('error', 'usage', 'bad option value', 'The value of an option is not of the expected kind or is out of range.'),
  QC2004: entry(
    'error',
    'usage',
    'unknown pass',
    'No pass of this name is registered. `qc passes` lists all of them; `--plugin` loads more.',
  ),
  QC2005: entry(
    'error',
    'usage',
    'pass order',
    'A pass needs something that no earlier pass gives. The message names the pass that gives it.',
  ),
  QC2006: entry(
    'error',
    'usage',
    'unknown scheme or target',
    'The name is not in the table of schemes or targets. `qc passes` lists both.',
  ),
  QC2007: entry(
    'error',
    'usage',
    'command line not understood',
    'A command, option or argument is unknown, missing or does not go with the others. `qc help COMMAND` lists what there is.',
  ),
  QC2101: entry(
    'error',
    'usage',
    'calibration data missing',
    'This pipeline needs activation ranges. Give text or arrays with `--calib`, or saved ranges with `--calibration`. `qc` never calibrates on random data.',
  ),
  QC2102: entry('error', 'usage', 'tokenizer missing', "Text needs a tokenizer: give the model's `tokenizer.json` with `--tokenizer`."),
  QC2103: entry(
    'error',
    'usage',
    'data does not fit the model',
    'The data names an input that the model does not have, lacks one that it needs, or has the wrong element type or shape.',
  ),
  QC2104: entry(
    'error',
    'usage',
    'token outside the vocabulary',
    'The tokenizer gave an id beyond the embedding table: it does not belong to this model.',
  ),
  QC2105: entry('error', 'usage', 'data file does not parse', 'A `.txt`, `.jsonl` or `.npz` file is malformed; the message says where.'),
  QC2106: entry(
    'error',
    'usage',
    'not enough data',
    'The data has fewer samples of the requested length than needed. Lower `--seq` or `--samples`, or give more text.',
  ),
  QC2107: entry(
    'error',
    'failure',
    'calibration met NaN or infinity',
    'An activation is not finite on the calibration data. Check the model in float with `qc eval` first.',
  ),
  QC2108: entry(
    'error',
    'usage',
    'calibration does not fit the model',
    'The saved ranges were taken on another model or pipeline: sites or channel counts differ.',
  ),
  QC2109: entry('error', 'usage', 'file not found or not readable', 'A file named on the command line cannot be read.'),
  QC2110: entry(
    'error',
    'usage',
    'no input for tokens',
    'Text needs the one input of the model that takes tokens: `input_ids`, or else the only integers [batch, seq] that are no mask, position or token type. Name it with `--input`.',
  ),
  QC2111: entry(
    'error',
    'usage',
    'wrong length of a sequence',
    'A sequence has more tokens than the model has positions for, or another length than the model is fixed to. The message names the length: give it with `--seq`.',
  ),
  QC2112: entry(
    'error',
    'usage',
    'config is not understood',
    'A `config.json` is no JSON, is of a family that `qc memory` has no rule for, or lacks a field. The message names it. The ONNX model itself tells as much.',
  ),
  QC2201: entry(
    'error',
    'failure',
    'strict: something was left alone',
    'With `--strict`, a linear or norm that the scheme covers but the pipeline could not handle fails the compile. The ledger says which and why.',
  ),
  QC2202: entry('error', 'gate', 'quality gate failed', 'A measured figure is worse than the limit given on the command line.'),
  QC3001: entry(
    'error',
    'internal',
    'a pass broke its contract',
    'A pass that must not change what the model computes did. The message names the pass, the first value that differs and by how much.',
  ),
  QC3101: entry(
    'warning',
    'failure',
    'a channel transform stays at run time',
    'A reorder, shift or scale could not be folded into a neighbour; it stays as Gather, Mul or Add. The note says what refused it.',
  ),
  QC3201: entry(
    'warning',
    'failure',
    'no calibration for a site',
    'The observer of this site has seen no data, so the pass leaves it alone.',
  ),
  QC3203: entry(
    'warning',
    'failure',
    'ranges still grow with the samples',
    'Static ranges hold the extremes of the calibration data. By how far these lie beyond the extremes of single samples, those of twice as many samples would be more than a tenth wider, so text that was not seen will be clipped. Give more or longer samples (`--samples`, `--seq`).',
  ),
  QC3202: entry(
    'note',
    'failure',
    'biases are not corrected',
    'What quantization does to the means of results is found on samples, and there are fewer than two: each half of them judges the other. Give data with `--calib`; saved statistics do not have it. `--no-bias-correct` leaves the pass out.',
  ),
  QC3301: entry(
    'warning',
    'failure',
    'left in float',
    'A weight or activation that the scheme covers was left in float; the message says why.',
  ),
  QC3302: entry(
    'warning',
    'failure',
    'linears inside a body stay in float',
    'Passes change the graph around If, Loop and Scan. What these hold inside runs as it was, and the ledger lists it. A merged decoder is taken out of its If; where its branches are no such decoder, the ledger has the reason: export the decoder and the decoder with past as two models then, without merging them.',
  ),
  QC3303: entry(
    'warning',
    'failure',
    'nothing was quantized',
    'The model was written, and nothing in it is quantized: no linear was recognised, or none that the scheme covers. The message and the ledger name the reasons; with `--strict` this is a failure.',
  ),
  QC4001: entry(
    'error',
    'failure',
    'target cannot express this',
    'After lowering, an operator is left that the target does not have. Choose another target or scheme.',
  ),
  QC4002: entry(
    'error',
    'failure',
    'zero point does not fit',
    'A zero point is outside its integer type. Lowering must move it into a Sub and a bias first.',
  ),
  QC4003: entry(
    'warning',
    'failure',
    'a constant does not fit f16',
    'A weight, norm or bias has elements beyond 65504, the largest number of f16. It stays in f32, and so does the operator that reads it. Scaling its channels (`os+`) may bring it into range.',
  ),
  QC4004: entry(
    'warning',
    'failure',
    'a graph inside the graph stays in f32',
    'The target computes in f16, but what If, Loop or Scan compute inside is left in f32. Export the model without control flow around its layers.',
  ),
  QC4005: entry(
    'warning',
    'failure',
    'the model overflows in f16',
    'On the probe, a value is finite in f32 and infinite or not a number in f16, which ends at 65504. Choose a target that computes in f32, or bring the outliers into range (`os+`).',
  ),
  QC4006: entry(
    'error',
    'failure',
    'the lowered model gives other results',
    'After lowering, the outputs on the probe differ from those of the fake-quantized graph by more than codes that fall to the other side can explain, or are not finite. Nothing was written. A weight, norm or bias that is not finite does this; otherwise please report it with the command.',
  ),
  QC4101: entry(
    'error',
    'model',
    'not an ONNX file',
    'The protobuf does not decode: the file is truncated, damaged or not ONNX. Weights alone (`.safetensors`, `.gguf`, `.pt`, `.bin`) have no graph: export the model to ONNX first, with `optimum-cli export onnx` or `torch.onnx.export`.',
  ),
  QC4102: entry(
    'error',
    'model',
    'external data missing or short',
    'A tensor points into a side file that is not there or ends before the tensor does. Keep the side files beside the model.',
  ),
  QC4103: entry(
    'error',
    'model',
    'external data path refused',
    'The location of external data is absolute or leaves the folder of the model. Such models are refused.',
  ),
  QC4104: entry(
    'error',
    'model',
    'unsupported opset',
    "The model's opset cannot be converted for this pipeline; the message names the operator. Export the model with opset 18 or later.",
  ),
  QC4105: entry(
    'error',
    'model',
    'graph is not well formed',
    'The model uses a name that nothing defines, defines one twice, or is not topologically sorted.',
  ),
  QC4106: entry(
    'error',
    'model',
    'tensor is not well formed',
    'A tensor has a negative extent, no data, or data in a field that does not belong to its element type.',
  ),
  QC4107: entry('error', 'model', 'file too large for one protobuf', 'A protobuf holds at most 2 GB. Export the model with external data.'),
  QC4108: entry(
    'error',
    'model',
    'the model is quantized already',
    'The model holds quantized weights or quantizers (QuantizeLinear, MatMulInteger, MatMulNBits and the like), or `qc` wrote it. Compile the float model that it was made from.',
  ),
  QC4109: entry(
    'error',
    'model',
    'a weight is not finite',
    'A weight holds NaN or infinity, so no grid can hold it. Train or export the model again; a checkpoint that was cut or cast to f16 too early does this.',
  ),
  QC4201: entry(
    'error',
    'failure',
    'cannot write the output',
    'The output cannot be written: the folder is not there, cannot be written to or is full, or a folder, a link, a device, a pipe or a socket lies in the place of the file. Nothing was left half-written.',
  ),
  QC5001: entry(
    'error',
    'failure',
    'ONNX Runtime refused a graph',
    'ONNX Runtime could not load or run a graph that `qc` gave it; its own message follows.',
  ),
  QC5002: entry(
    'error',
    'failure',
    'interrupted',
    'A signal stopped the run; nothing was written. The exit code is 128 and the number of the signal: 129 for SIGHUP, 130 for SIGINT (Ctrl-C), 143 for SIGTERM.',
  ),
  QC5003: entry(
    'error',
    'failure',
    'ONNX Runtime was loaded too early',
    'Sessions of onnxruntime-node use the kernels of `qc` when `@onnx-qc/qc/runtime` was loaded before it. Import `@onnx-qc/qc/runtime` first, or set `QC_KERNELS=off` to run on function bodies.',
  ),
  QC5004: entry(
    'error',
    'failure',
    'kernels do not load',
    'The library of kernels, or the addon beside it, is damaged, of another machine, or not where `QC_KERNELS` says. Build both with `qc kernels build`, or set `QC_KERNELS=off` to run on function bodies.',
  ),
  QC5005: entry(
    'error',
    'failure',
    'ONNX Runtime crashed',
    'The process in which `qc` runs ONNX Runtime has ended while it loaded or ran a model; the message has the signal. After SIGKILL, the system probably had too little memory: free some, or give fewer or shorter samples. After any other signal, the model probably holds something that ONNX Runtime does not check: check the model with `onnx.checker`, and report it to ONNX Runtime if it passes.',
  ),
  QC5006: entry(
    'error',
    'failure',
    'temporary files cannot be written',
    'The temporary folder does not exist, may not be written to, or its disk is full. It holds copies of the model and its activations: set `TMPDIR` to a folder with room for them.',
  ),
  QC5007: entry(
    'error',
    'failure',
    'the system has no room for a process',
    'ONNX Runtime runs in a process of its own, and the system cannot start one. End other programs, raise the limits of processes and open files (`ulimit -u`, `ulimit -n`), or ask for fewer threads with `--threads`.',
  ),
  QC5008: entry(
    'error',
    'failure',
    'kernels are not built',
    'There is no library of kernels where sessions look for one. `qc kernels build` builds it into the folder of the package; `QC_KERNELS` names one elsewhere. Without it, models run on the function bodies that they carry.',
  ),
  QC5009: entry(
    'error',
    'failure',
    'kernels cannot be built',
    'The build of the kernels failed, or cannot start: it needs Linux x64, cmake, g++ and a folder of the package that can be written to; that for GPUs also needs nvcc. Where the package lies in a folder of another user, build a copy of it and name the library with `QC_KERNELS`.',
  ),
  QC9001: entry(
    'error',
    'internal',
    'bug in qc',
    "Something that must not happen did. Please report it with the command and the model's `qc inspect --json`.",
  ),
} as const satisfies Readonly<Record<string, CodeEntry>>;

export type DiagnosticCode = keyof typeof codes;

/** The entry of a code, with its literal types widened. */
export const codeEntry = (code: DiagnosticCode): CodeEntry => codes[code];
