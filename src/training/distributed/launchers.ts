import { type Environment, isSet, wrong } from "./variables.ts";

/** The variables in which a launcher tells a process its place. */
export interface Launcher {
  readonly rank: string;
  readonly size: string;
  readonly localRank: string | null;
}

/** Kubeflow's PyTorchJob sets them too, and many scripts by hand. */
export const torchrun: Launcher = { rank: "RANK", size: "WORLD_SIZE", localRank: "LOCAL_RANK" };
export const openMpi: Launcher = {
  rank: "OMPI_COMM_WORLD_RANK",
  size: "OMPI_COMM_WORLD_SIZE",
  localRank: "OMPI_COMM_WORLD_LOCAL_RANK",
};
export const slurm: Launcher = { rank: "SLURM_PROCID", size: "SLURM_STEP_NUM_TASKS", localRank: "SLURM_LOCALID" };
/** Kubeflow's TrainJob writes for a torchrun in the pod; where each pod holds one process, the pods are the ranks. */
export const kubeflow: Launcher = { rank: "PET_NODE_RANK", size: "PET_NNODES", localRank: null };

export const masterVariables = ["MASTER_ADDR", "MASTER_PORT", "PET_MASTER_ADDR", "PET_MASTER_PORT"];

/**
 * The launchers whose variables count: of those inside each other the innermost, and torchrun's names where they were set
 * beside it by hand. None: this process was started alone.
 * @throws CodedError DISTRIBUTED_ENVIRONMENT where others were planned but this process cannot be one of them
 */
export function launchersOf(env: Environment): Launcher[] {
  // Only torchrun itself sets this; what started torchrun speaks of machines, not of ranks.
  if (isSet(env, "TORCHELASTIC_RUN_ID")) return [torchrun];
  const byHand = names(env, torchrun) || ["LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"].some((name) => isSet(env, name));
  // mpirun inside a Slurm job starts its own ranks; srun's variables are those of its daemon.
  if (names(env, openMpi)) return byHand ? [torchrun, openMpi] : [openMpi];
  if (isSet(env, "SLURM_STEP_ID")) return byHand ? [torchrun, slurm] : [slurm];
  refuseSeveralPerPod(env);
  if (names(env, torchrun)) return [torchrun];
  if (names(env, kubeflow)) return [kubeflow];
  refuseWithoutSrun(env);
  return byHand ? [torchrun] : [];
}

function names(env: Environment, { rank, size }: Launcher): boolean {
  return isSet(env, rank) || isSet(env, size);
}

/** With words in place of a number ("auto") Kubeflow counts one process. */
function refuseSeveralPerPod(env: Environment): void {
  const processes = env.PET_NPROC_PER_NODE ?? "1";
  if (!/^\d+$/.test(processes) || processes === "1" || isSet(env, "LOCAL_RANK")) return;
  throw wrong(
    `PET_NPROC_PER_NODE is ${processes}, but this pod started one process`,
    "Ask Kubeflow for one process in each of more pods, or start the command with torchrun --no-python.",
  );
}

/** A batch script sees the job's tasks too; one process would quietly train on one of all these places. */
function refuseWithoutSrun(env: Environment): void {
  const tasks = env.SLURM_NTASKS ?? "1";
  if (!isSet(env, "SLURM_JOB_ID") || tasks === "1") return;
  throw wrong(
    `SLURM_NTASKS is ${tasks}, but this process was not started by srun`,
    "Put srun before the command, or set LLAMA_DISTRIBUTED=off to train on one rank.",
  );
}
