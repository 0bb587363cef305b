// Builds the GPU module, build/native/llama_cuda.so, for every supported card: npm run build:cuda. Needs no GPU.
// Takes the CUDA toolkit that CUDA_HOME names or whose nvcc is on the PATH; where there is none, NVIDIA's wheels are installed
// into a Python virtual environment under build/.
//   CUDA_ARCHITECTURES=89   builds for one generation only (CMake's notation), which is faster
import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const environment = join(root, "build", "cuda-toolkit");
/** nvcc with its headers and compilers, the runtime to link, CUDA's C++ headers, and cuBLASLt's. */
const wheels = [
  "nvidia-cuda-nvcc==13.5.37",
  "nvidia-cuda-runtime==13.5.37",
  "nvidia-cuda-cccl==13.3.5.0.6",
  "nvidia-cublas==13.10.0.20",
];

function fail(message) {
  console.error(`GPU module: ${message}`);
  process.exit(1);
}

function run(command, args, options = {}) {
  const { status, error } = spawnSync(command, args, { stdio: "inherit", ...options });
  if (error || status !== 0) fail(`"${command} ${args.join(" ")}" failed${error ? `: ${error.message}` : ""}`);
}

/** @returns the toolkit's folder, or null */
function installedToolkit() {
  const named = process.env.CUDA_HOME ?? process.env.CUDA_PATH;
  if (named)
    return existsSync(join(named, "bin", "nvcc")) ? named : fail(`CUDA_HOME is ${named}, which has no bin/nvcc`);
  const found = (process.env.PATH ?? "").split(":").find((folder) => folder && existsSync(join(folder, "nvcc")));
  return found ? dirname(found) : null;
}

/** Where the wheels put the toolkit: site-packages/nvidia/cu13. */
function wheelsToolkit() {
  const site = existsSync(join(environment, "lib")) ? readdirSync(join(environment, "lib")) : [];
  return site
    .map((python) => join(environment, "lib", python, "site-packages", "nvidia", "cu13"))
    .find((folder) => existsSync(join(folder, "bin", "nvcc")) && existsSync(join(folder, "include", "cublasLt.h")));
}

function installWheels() {
  console.log("GPU module: installing NVIDIA's compiler into build/cuda-toolkit");
  rmSync(environment, { recursive: true, force: true });
  run("python3", ["-m", "venv", environment]);
  run(join(environment, "bin", "pip"), ["install", "--quiet", "--disable-pip-version-check", ...wheels]);
  return wheelsToolkit() ?? fail("the wheels hold no nvcc");
}

const toolkit = installedToolkit() ?? wheelsToolkit() ?? installWheels();
const folder = join(root, "build", "native-cuda");
const compiler = join(toolkit, "bin", "nvcc");
const cache = join(folder, "CMakeCache.txt");
// With another compiler CMake forgets everything that it was told.
const cached = existsSync(cache) && /^CMAKE_CUDA_COMPILER:\w+=(.*)$/m.exec(readFileSync(cache, "utf8"))?.[1];
if (cached && cached !== compiler) rmSync(folder, { recursive: true });
mkdirSync(folder, { recursive: true });
const architectures = process.env.CUDA_ARCHITECTURES;
const libraries = ["lib64", "lib"]
  .map((name) => join(toolkit, name))
  .find((path) => existsSync(join(path, "libcudart_static.a")));
if (!libraries) fail(`${toolkit} has no libcudart_static.a`);
run("cmake", [
  ...["-S", join(root, "native"), "-B", folder, "-DCMAKE_BUILD_TYPE=Release", "-DLLAMA_CUDA=ON"],
  `-DCMAKE_CUDA_COMPILER=${compiler}`,
  `-DLLAMA_CUDA_LIBRARIES=${libraries}`,
  `-DLLAMA_CUBLAS_INCLUDE=${join(toolkit, "include")}`,
  architectures ? `-DCMAKE_CUDA_ARCHITECTURES=${architectures}` : "-UCMAKE_CUDA_ARCHITECTURES",
]);
run("cmake", ["--build", folder, "--target", "llama_cuda", "--parallel", String(availableParallelism())]);
const output = join(root, "build", "native", "llama_cuda.so");
mkdirSync(dirname(output), { recursive: true });
// In one step: a running server keeps the module that it has opened.
copyFileSync(join(folder, "llama_cuda.so"), `${output}.new`);
renameSync(`${output}.new`, output);
console.log(`GPU module: built ${relative(root, output)}`);
