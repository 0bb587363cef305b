#!/usr/bin/env bash
# Tests and benchmarks on a GPU, without Node: a CUDA toolkit (12 or 13), cmake, a C++ compiler and a driver are enough.
#   scripts/gpu.sh test     every kernel's tests on the card, then the whole engine beside the CPU's reference
#   scripts/gpu.sh bench    JSON on standard output; beside it torch + PEFT where PYTHON (default python3) has them
# CUDA_HOME names the toolkit where nvcc is not on the PATH; LLAMA_CUBLAS a folder that holds libcublasLt.so where the loader does
# not find it. Both say so and end well where there is no card.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
what=${1:?"usage: scripts/gpu.sh test|bench"}
shift

if ! command -v nvidia-smi >/dev/null || ! nvidia-smi -L >/dev/null 2>&1; then
  echo "GPU $what: skipped, this machine has no NVIDIA GPU that nvidia-smi knows"
  exit 0
fi
if [ -n "${CUDA_HOME:-}" ]; then
  PATH=$CUDA_HOME/bin:$PATH
elif ! command -v nvcc >/dev/null; then
  for toolkit in /usr/local/cuda "$root"/build/cuda-toolkit/lib/python*/site-packages/nvidia/cu13; do
    [ -x "$toolkit/bin/nvcc" ] && PATH=$toolkit/bin:$PATH && break
  done
fi
command -v nvcc >/dev/null || { echo "GPU $what: needs nvcc; set CUDA_HOME, or type: npm run build:cuda" >&2; exit 1; }
toolkit=$(dirname "$(dirname "$(command -v nvcc)")")
libraries=$toolkit/lib64
[ -e "$libraries/libcudart_static.a" ] || libraries=$toolkit/lib

# Of all cards: CUDA's first is not always the tool's.
architectures=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | tr -d '. ' | sort -un |
  awk '$1 >= 75 { printf "%s%s-real", separator, $1; separator = ";" }')
[ -n "$architectures" ] || { echo "GPU $what: skipped, no card here has compute capability 7.5 or more"; exit 0; }
folder=$root/build/gpu
cmake -S "$root/native" -B "$folder" -DCMAKE_BUILD_TYPE=Release -DLLAMA_CUDA=ON -DLLAMA_GPU_PROGRAMS=ON \
  -DCMAKE_CUDA_COMPILER="$(command -v nvcc)" -DLLAMA_CUDA_LIBRARIES="$libraries" -DLLAMA_CUBLAS_INCLUDE="$toolkit/include" \
  -DCMAKE_CUDA_ARCHITECTURES="$architectures" >&2
export LD_LIBRARY_PATH=$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}

case $what in
  test)
    cmake --build "$folder" --parallel "$(nproc)" --target gpu_programs >&2
    ctest --test-dir "$folder" --output-on-failure --label-regex gpu
    ;;
  bench)
    cmake --build "$folder" --parallel "$(nproc)" --target gpu_bench >&2
    LLAMA_REVISION=$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)
    LLAMA_DRIVER=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -1)
    export LLAMA_REVISION LLAMA_DRIVER
    ours=$("$folder/gpu_bench" "$@")
    python=${PYTHON:-python3}
    peer='{"skipped": "torch and peft are not installed"}'
    if "$python" -c 'import torch, peft' 2>/dev/null; then
      peer=$("$python" "$root/bench/peers/torch_gpu.py") || peer='{"failed": "see standard error"}'
    fi
    printf '{"ours": %s, "torch_peft": %s}\n' "$ours" "$peer"
    ;;
  *)
    echo "usage: scripts/gpu.sh test|bench" >&2
    exit 2
    ;;
esac
