#!/usr/bin/env bash
# Tests and benchmarks on a GPU, without Node: a CUDA toolkit (12 or 13), cmake, make or ninja, a C++ compiler and a driver are
# enough.
#   scripts/gpu.sh build    what the others run; needs no GPU where CUDA_ARCHITECTURES names its kind (90-real, for one)
#   scripts/gpu.sh test     every kernel's tests on the card, then the whole engine beside the CPU's reference
#   scripts/gpu.sh bench    JSON on standard output; beside it torch + PEFT where PYTHON (default python3) has them
#     [--layers N] [--seconds S] [--only bf16|int8|int4|nf4] [--checkpointed-layers N] [--limit S]
# CUDA_HOME names the toolkit where nvcc is not on the PATH; LLAMA_CUBLAS a folder that holds libcublasLt.so where it is neither
# in the toolkit nor among Python's packages. BENCH_LIMIT: the seconds that bench measures at most, default 420.
# test and bench say so and end well where there is no card.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd -P)
what=${1:-}
case $what in
  build | test | bench) shift ;;
  *)
    echo "usage: scripts/gpu.sh build|test|bench" >&2
    exit 2
    ;;
esac
python=${PYTHON:-python3}

fail() {
  echo "GPU $what: $1" >&2
  exit 1
}

skip() {
  if [ "$what" = bench ]; then echo "{\"skipped\": \"$1\"}"; else echo "GPU $what: skipped, $1"; fi
  exit 0
}

# The first of the folders that holds the file.
folder_with() {
  local file=$1 folder
  shift
  for folder in "$@"; do
    if [ -e "$folder/$file" ]; then
      echo "$folder"
      return
    fi
  done
  return 1
}

if [ "$what" != build ] && ! { command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; }; then
  skip "this machine has no NVIDIA GPU that nvidia-smi knows"
fi
# Of all cards: CUDA's first is not always the tool's.
architectures=${CUDA_ARCHITECTURES:-}
if [ -z "$architectures" ] && command -v nvidia-smi >/dev/null; then
  capabilities=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader) || capabilities=
  architectures=$(tr -d '. ' <<<"$capabilities" | sort -un |
    awk '/^[0-9]+$/ && $1 >= 75 { printf "%s%s-real", separator, $1; separator = ";" }')
  [ -n "$architectures" ] || [ "$what" = build ] || skip "no card here has compute capability 7.5 or more"
fi
[ -n "$architectures" ] || fail "no card here says what to build for: set CUDA_ARCHITECTURES, to 90-real for one"

# Python's packages may hold the toolkit or what it lacks.
mapfile -t packages < <("$python" -c 'import nvidia; print("\n".join(nvidia.__path__))' 2>/dev/null)
includes=() libraries=()
for package in "${packages[@]}"; do
  includes+=("$package/cu13/include" "$package/cublas/include")
  libraries+=("$package/cu13/lib" "$package/cublas/lib")
done
nvcc=
if [ -n "${CUDA_HOME:-}" ]; then
  nvcc=$CUDA_HOME/bin/nvcc
elif ! nvcc=$(command -v nvcc); then
  nvcc=$(folder_with nvcc /usr/local/cuda/bin /usr/local/cuda-*/bin \
    "$root"/build/cuda-toolkit/lib/python*/site-packages/nvidia/cu13/bin "${includes[@]/%include/bin}")/nvcc || nvcc=
fi
[ -x "$nvcc" ] || fail "needs nvcc; set CUDA_HOME, or type: npm run build:cuda"
nvcc=$(readlink -f "$nvcc")
toolkit=$(dirname "$(dirname "$nvcc")")
includes=("$toolkit/include" "$toolkit"/targets/*/include "${includes[@]}")
libraries=("$toolkit/lib64" "$toolkit/lib" "$toolkit"/targets/*/lib "$toolkit"/lib/*-linux-gnu "${libraries[@]}")
runtime=$(folder_with libcudart_static.a "${libraries[@]}") || fail "$toolkit has no libcudart_static.a"
headers=$(folder_with cublasLt.h "${includes[@]}") ||
  fail "needs cublasLt.h, which neither $toolkit nor Python's packages hold: install nvidia-cublas"
if [ -z "${LLAMA_CUBLAS:-}" ]; then
  major=$("$nvcc" --version | sed -n 's/.*release \([0-9]*\).*/\1/p')
  for name in "libcublasLt.so.$major" libcublasLt.so.13 libcublasLt.so.12; do
    if LLAMA_CUBLAS=$(folder_with "$name" "${libraries[@]}"); then
      export LLAMA_CUBLAS
      break
    fi
    unset LLAMA_CUBLAS  # the loader's own folders are left
  done
fi

folder=$root/build/gpu
generator="Unix Makefiles"
keep_going=(-k)
if ! command -v make >/dev/null; then
  command -v ninja >/dev/null || fail "needs make or ninja"
  generator=Ninja
  keep_going=(-k 0)
fi
# CMake refuses a folder that was made elsewhere or with another tool, and forgets what it was told with another compiler.
cache=$folder/CMakeCache.txt
if [ -e "$cache" ] && ! { grep -qx "CMAKE_HOME_DIRECTORY:INTERNAL=$root/native" "$cache" &&
  grep -qx "CMAKE_GENERATOR:INTERNAL=$generator" "$cache" && grep -qx "CMAKE_CUDA_COMPILER:[A-Z]*=$nvcc" "$cache"; }; then
  rm -r "$folder"
fi
cmake -S "$root/native" -B "$folder" -G "$generator" -DCMAKE_BUILD_TYPE=Release -DLLAMA_CUDA=ON -DLLAMA_GPU_PROGRAMS=ON \
  -DCMAKE_CUDA_COMPILER="$nvcc" -DLLAMA_CUDA_LIBRARIES="$runtime" -DLLAMA_CUBLAS_INCLUDE="$headers" \
  -DCMAKE_CUDA_ARCHITECTURES="$architectures" >&2

# As much as can be built: one program's fault is not the others'.
build() {
  cmake --build "$folder" --parallel "${CMAKE_BUILD_PARALLEL_LEVEL:-$(nproc)}" --target "$@" -- "${keep_going[@]}" >&2 || return 1
  echo "GPU $what: built after $SECONDS seconds" >&2
}

# Not for torch, which brings its own libraries.
with_toolkit() {
  LD_LIBRARY_PATH=$runtime${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} "$@"
}

# Its JSON lies in a file from its first measurement on, whatever ends it.
measure() {
  local name=$1 status=0 left=$((deadline - SECONDS))
  shift
  if [ $left -lt 10 ]; then
    echo '{"skipped": "no time is left: set BENCH_LIMIT"}' >"$results/$name.json"
    return
  fi
  timeout --foreground --kill-after=15 $left "$@" --out "$results/$name.json" >/dev/null || status=$?
  [ $status = 0 ] || echo "GPU bench: $name ended with status $status" >&2
  [ $status != 2 ] || exit 2  # wrong options
}

result_of() {
  cat "$results/$1.json" 2>/dev/null || echo '{"failed": "see standard error"}'
}

print_results() {
  printf '{"ours": %s, "torch_peft": %s}\n' "$(result_of ours)" "$(result_of torch_peft)"
}

case $what in
  build)
    build gpu_programs gpu_bench
    ;;
  test)
    status=0
    build gpu_programs || {
      status=1
      echo "GPU test: not everything was built; what is there is run" >&2
    }
    THOROUGH_TESTS=1 with_toolkit ctest --test-dir "$folder" --output-on-failure --no-tests=error --timeout 120 --label-regex gpu || status=1
    exit $status
    ;;
  bench)
    build gpu_bench
    LLAMA_REVISION=${LLAMA_REVISION:-$(git -C "$root" rev-parse HEAD 2>/dev/null || echo unknown)}
    LLAMA_DRIVER=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | sed -n 1p) || LLAMA_DRIVER=unknown
    export LLAMA_REVISION LLAMA_DRIVER
    results=$folder/bench
    mkdir -p "$results"
    rm -f "$results"/*.json
    deadline=$((SECONDS + ${BENCH_LIMIT:-420}))
    trap print_results EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    with_toolkit measure ours "$folder/gpu_bench" "$@"
    if "$python" -c 'import torch' 2>/dev/null; then
      measure torch_peft "$python" "$root/bench/peers/torch_gpu.py" "$@"
    else
      echo '{"skipped": "torch is not installed"}' >"$results/torch_peft.json"
    fi
    ;;
esac
