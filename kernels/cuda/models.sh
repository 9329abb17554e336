#!/usr/bin/env bash
# Compiles a model for qc-cuda, as check.sh --models takes it: kernels/cuda/models.sh MODEL_FOLDER OUT. MODEL_FOLDER has model.onnx,
# tokenizer.json, calib.txt and heldout.txt. Needs `npm run build` and `npm run build:kernels`; perplexities are those of the CPU's kernels.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
main=$here/../../dist/src/cli/main.js
seq=256
windows=40

fail() {
  echo "models.sh: $*" >&2
  exit 1
}

[ $# -eq 2 ] || fail "takes the folder of a model and the folder to write to"
[ -e "$main" ] || fail "qc is not built: npm run build"
for file in model.onnx tokenizer.json calib.txt heldout.txt; do [ -e "$1/$file" ] || fail "there is no $1/$file"; done

data=("$1/heldout.txt" --tokenizer "$1/tokenizer.json" --seq "$seq" --windows "$windows")
for scheme in w4a16 w4a8; do
  out=$2/$(basename "$1")-$scheme
  mkdir -p "$out"
  node "$main" compile "$1/model.onnx" -p rptq,os+ --scheme "$scheme" --target qc-cuda \
    --calib "$1/calib.txt" --tokenizer "$1/tokenizer.json" --quiet -o "$out/model.onnx" >"$out/compile.txt"
  node "$here/bench/tokens.mjs" "$1/model.onnx" "$1/heldout.txt" "$1/tokenizer.json" "$seq" "$windows" "$out/tokens.npy"
  node "$main" eval "$out/model.onnx" --data "${data[@]}" --quiet --json >"$out/expected.json"
done
