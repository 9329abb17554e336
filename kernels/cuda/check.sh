#!/usr/bin/env bash
# Builds, checks and times the kernels on a machine with a GPU; see usage below and docs/cuda-notes.md.
set -euo pipefail

usage() {
  cat <<'END'
usage: kernels/cuda/check.sh [options]

Builds the kernels for this machine's GPU, compares every operator with the kernels of the CPU, compares products and norms with PyTorch,
and times everything. Writes one table, check.md. Needs no network: nvcc (of CUDACXX, CUDA_HOME or the PATH), cmake, g++, nvidia-smi, and
the python3 of PYTHON, or of the PATH, with numpy and torch; for the last two parts with onnx and an onnxruntime for CUDA as well.

  --only PART        build, parity, time, ort or models alone, behind the build; the other parts of the table stay as they are
  --sanitize         run the parity tests under compute-sanitizer, if there is one
  --onnxruntime DIR  install the onnxruntime-gpu whose wheel lies in DIR in pieces, NAME.whl.part-00 ..., for this run
  --models DIR       run the models in DIR too, as kernels/cuda/models.sh makes them
  --out DIR          where check.md goes; kernels/build-check by default
  --seed N           of random operands; another one each time by default
  --dry-run          for a machine without a GPU: builds for all chips, emulates the kernels on the CPU, has tiny sizes, and takes
                     onnxruntime's provider of the CPU
  --help             this text
END
}

fail() {
  echo "check.sh: $*" >&2
  exit 1
}

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
kernels=$(dirname "$here")
build=$kernels/build-check
python=${PYTHON:-python3}
# What lies beside the sources is only what belongs there.
export PYTHONDONTWRITEBYTECODE=1
only='' sanitize='' pieces='' models='' seed='' dry='' out=$build

while [ $# -gt 0 ]; do
  case $1 in
    --help) usage && exit 0 ;;
    --sanitize) sanitize=yes ;;
    --dry-run) dry=yes ;;
    --only | --onnxruntime | --models | --out | --seed)
      [ $# -gt 1 ] || fail "$1 needs a value"
      case $1 in
        --only) only=$2 ;;
        --onnxruntime) pieces=$2 ;;
        --models) models=$2 ;;
        --out) out=$2 ;;
        --seed) seed=$2 ;;
      esac
      shift
      ;;
    *) fail "there is no option $1 (--help)" ;;
  esac
  shift
done
case $only in '' | build | parity | time | ort | models) ;; *) fail "--only takes build, parity, time, ort or models, not $only" ;; esac
for folder in "$pieces" "$models"; do [ -z "$folder" ] || [ -d "$folder" ] || fail "there is no folder $folder"; done

parts=$build/parts${dry:+-dry}
mkdir -p "$parts" "$out"
scratch=$(mktemp -d)
steps=()

# Runs a step under a heading, with the time that it took.
step() {
  local title=$1 start=$SECONDS
  shift
  echo "== $title"
  current=$title
  "$@"
  current=''
  steps+=("| $title | $((SECONDS - start)) s |")
  echo "== $title: $((SECONDS - start)) s"
}

# The table is written whatever happens, of what there is.
finish() {
  local status=$? part
  rm -rf "$scratch"
  [ -z "${current:-}" ] || steps+=("| $current | FAILED |")
  {
    printf '# Check of the CUDA kernels%s\n\n| step | time |\n| --- | --- |\n' "${dry:+, dry run: no time below means anything}"
    printf '%s\n' "${steps[@]:-}"
    for part in parity time ort models; do
      [ ! -e "$parts/$part.md" ] || printf '\n%s\n\n(%s)\n' "$(<"$parts/$part.md")" "$(date -u -r "$parts/$part.md" '+%F %H:%M UTC')"
    done
  } >"$out/check.md"
  echo "== ${current:+FAILED: $current, }$SECONDS s in all, table: $out/check.md"
  exit "$status"
}

find_nvcc() {
  local candidate
  for candidate in "${CUDACXX:-}" "${CUDA_HOME:+$CUDA_HOME/bin/nvcc}" "$(command -v nvcc || true)" /usr/local/cuda/bin/nvcc \
    "$kernels"/build-nvcc/lib/python3*/site-packages/nvidia/cu*/bin/nvcc; do
    [ -x "$candidate" ] && nvcc=$candidate && return
  done
  fail "there is no nvcc: set CUDACXX to its path, or CUDA_HOME to its toolkit"
}

# That of the GPU here, of all chips for a dry run.
architectures() {
  [ -z "$dry" ] || return 0
  local capability
  capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader --id=0) || fail "nvidia-smi finds no GPU (--dry-run does without)"
  case $capability in 9.0) echo 90a-real ;; *) echo "${capability/./}-real" ;; esac
}

# cmake project into a folder, with definitions.
compile() {
  local folder=$build/$1
  shift
  cmake -S "$here/bench" -B "$folder" "$@" >"$folder.log" 2>&1 || { cat "$folder.log" && fail "cmake failed"; }
  cmake --build "$folder" --parallel "$(nproc)" >"$folder.log" 2>&1 || { tail -n 60 "$folder.log" && fail "the build failed: $folder.log"; }
}

compile_for_gpu() {
  local toolkit chips
  toolkit=$(dirname "$(dirname "$nvcc")")
  # Toolkits of wheels have their libraries where no compiler looks.
  [ -d "$toolkit/lib64" ] || export LIBRARY_PATH=$toolkit/lib${LIBRARY_PATH:+:$LIBRARY_PATH}
  chips=$(architectures)
  compile gpu -DCMAKE_CUDA_COMPILER="$nvcc" -DQC_ARCHITECTURES="$chips"
}

# One parity test, under a command or alone.
parity_of() {
  local name=$1 start=$SECONDS
  shift
  "$@" "$built/$name" || fail "$name is red${*:+ under $*}"
  echo "| $name${*:+, $(basename "$1") $3} | right | $((SECONDS - start)) s |" >>"$parts/parity.md"
}

parity() {
  local name tool
  echo "## Every operator against the kernels of the CPU${dry:+, emulated}" >"$parts/parity.md"
  printf '\n| test | result | time |\n| --- | --- | --- |\n' >>"$parts/parity.md"
  for name in cuda_quantize_parity cuda_matmul_parity; do parity_of "$name"; done
  [ -n "$sanitize" ] || return 0
  command -v compute-sanitizer >/dev/null || { echo "there is no compute-sanitizer" && return; }
  for tool in memcheck racecheck; do
    for name in cuda_quantize_parity cuda_matmul_parity; do parity_of "$name" compute-sanitizer --tool "$tool" --error-exitcode 1; done
  done
}

install_onnxruntime() {
  local first name
  first=$(find "$pieces" -name '*.whl.part-*' | sort | head -n 1)
  [ -n "$first" ] || fail "there are no pieces NAME.whl.part-* in $pieces"
  name=$(basename "${first%.part-*}")
  cat "$pieces/$name".part-* >"$scratch/$name"
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$scratch/onnxruntime" "$scratch/$name"
  rm "$scratch/$name"
  export PYTHONPATH=$scratch/onnxruntime${PYTHONPATH:+:$PYTHONPATH}
}

has_onnxruntime() {
  local provider=${dry:+CPU}
  provider=${provider:-CUDA}ExecutionProvider
  "$python" -c "import torch, onnx, onnxruntime; assert '$provider' in onnxruntime.get_available_providers()" 2>/dev/null
}

check_python() {
  local script=$1
  shift
  "$python" "$here/$script" "$@" --out "$parts" ${seed:+--seed "$seed"} ${dry:+--dry-run}
}

wants() { [ -z "$only" ] || [ "$only" = "$1" ]; }

trap finish EXIT
find_nvcc
command -v cmake >/dev/null || fail "there is no cmake"
[ -n "$dry" ] || command -v nvidia-smi >/dev/null || fail "there is no nvidia-smi, and so no GPU (--dry-run does without)"
built=$build/gpu
[ -z "$dry" ] || built=$build/emulated
case $only in
  build | parity) ;;
  *) "$python" -c 'import numpy, torch' 2>/dev/null || fail "$python has no numpy or no torch: set PYTHON" ;;
esac

[ -n "$only" ] || rm -f "$parts"/*.md
step "build for the GPU, $("$nvcc" --version | grep -o 'V[0-9.]*$')" compile_for_gpu
[ -z "$dry" ] || step "build, emulated" compile emulated -DQC_EMULATE=ON
! wants parity || step parity parity
! wants time || step time check_python check.py --library "$built/libqc_cuda_driver.so"
if wants ort || wants models; then
  [ -z "$pieces" ] || step "install onnxruntime" install_onnxruntime
  if has_onnxruntime; then
    library=$build/gpu/kernels/libqc_kernels_cuda.so
    ! wants ort || step ort check_python check_ort.py products --library "$library"
    ! wants models || step models check_python check_ort.py models --library "$library" ${models:+--models "$models"}
  elif [ -n "$only" ]; then
    fail "$python has no onnx, or no onnxruntime for this (--onnxruntime)"
  else
    echo "== ort, models: skipped, $python has no onnx or no onnxruntime for them (--onnxruntime)"
  fi
fi
