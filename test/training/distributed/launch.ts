import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { openAddon } from "../../../src/engine/native/addon.ts";
import type { TrainingResult, TrainingSettings } from "../../../src/training/index.ts";
import { root } from "../../weights/embedded-base.ts";
import { defaults } from "../default-settings.ts";

/** Kernels in float32 throughout: others may round activations to bf16, where 1e-7 more or less becomes 1e-3. */
export const isa = (await openAddon()).instructionSets().includes("avx2") ? "avx2" : "reference";
export const environment = { ...process.env, LLAMA_ISA: isa, LLAMA_THREADS: "1" };

export const dataset = join(root, "examples", "alpacas.json");

/** Ten steps over the 36 rows of examples/alpacas.json. */
export const settings: TrainingSettings = {
  ...defaults,
  num_epochs: 2,
  learning_rate: 3e-3,
  batch_size: 8,
  lora_dropout: 0,
  warmup_steps: 0,
  val_set_size: 0,
};

/** Largest distances of losses, and of the adapters' elements. */
export function distances(found: Pick<TrainingResult, "steps" | "evaluations" | "adapter">, expected: TrainingResult) {
  const losses = ({ steps, evaluations }: typeof found) => [...steps, ...evaluations].map(({ loss }) => loss);
  const elements = ({ adapter }: typeof found) => adapter.modules.flatMap(({ a, b }) => [...a, ...b]);
  return { loss: largest(losses(found), losses(expected)), adapter: largest(elements(found), elements(expected)) };
}

function largest(found: readonly number[], expected: readonly number[]): number {
  if (found.length !== expected.length) return Number.POSITIVE_INFINITY;
  return found.reduce((most, value, i) => Math.max(most, Math.abs(value - expected[i]!)), 0);
}

/** What torchrun would set. */
export const torchVariables = (rank: number, size: number, port: number) => ({
  RANK: `${rank}`,
  WORLD_SIZE: `${size}`,
  LOCAL_RANK: `${rank}`,
  MASTER_ADDR: "127.0.0.1",
  MASTER_PORT: `${port}`,
});

export const hasMpi =
  spawnSync("mpirun", ["--version"]).status === 0 && existsSync(join(root, "build", "native", "llama_mpi.so"));

/** Under any user, on a machine with fewer cores than ranks, in a container, and where there is no ssh. */
const mpiVariables = {
  OMPI_ALLOW_RUN_AS_ROOT: "1",
  OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1",
  OMPI_MCA_rmaps_base_oversubscribe: "1",
  OMPI_MCA_hwloc_base_binding_policy: "none",
  OMPI_MCA_btl_vader_single_copy_mechanism: "none",
  OMPI_MCA_plm: "isolated",
};

export function mpirun(ranks: number, words: readonly string[], more: Record<string, string> = {}): ChildProcess {
  return spawn("mpirun", ["-np", `${ranks}`, process.execPath, ...words], {
    cwd: root,
    env: { ...environment, ...mpiVariables, ...more },
    stdio: ["ignore", "pipe", "pipe"],
  });
}
