import { describe, expect, it } from "vitest";
import { firstHost } from "../../../src/training/distributed/link.ts";
import { readRanks } from "../../../src/training/index.ts";

const torchrun = { RANK: "3", WORLD_SIZE: "4", LOCAL_RANK: "1", MASTER_ADDR: "node0", MASTER_PORT: "29500" };
const openMpi = { OMPI_COMM_WORLD_RANK: "1", OMPI_COMM_WORLD_SIZE: "2", OMPI_COMM_WORLD_LOCAL_RANK: "1" };
const slurm = {
  SLURM_JOB_ID: "9000",
  SLURM_STEP_ID: "2",
  SLURM_PROCID: "5",
  SLURM_STEP_NUM_TASKS: "8",
  SLURM_NTASKS: "8",
  SLURM_LOCALID: "1",
  SLURM_STEP_NODELIST: "gpu[03-04]",
};
const trainJob = {
  PET_NNODES: "2",
  PET_NODE_RANK: "1",
  PET_NPROC_PER_NODE: "1",
  PET_MASTER_ADDR: "llama-node-0-0.llama",
  PET_MASTER_PORT: "29500",
};
const byTcp = (host: string, port: number) => ({ kind: "tcp", host, port });

describe("the rank of a process", () => {
  it.each([
    [
      "torchrun, whose agent listens at MASTER_PORT itself",
      { ...torchrun, TORCHELASTIC_RUN_ID: "none", TORCHELASTIC_USE_AGENT_STORE: "True" },
      { rank: 3, size: 4, localRank: 1, link: byTcp("node0", 29501) },
    ],
    [
      "torchrun on each machine of srun",
      { ...slurm, ...torchrun, TORCHELASTIC_RUN_ID: "r1" },
      { rank: 3, size: 4, localRank: 1, link: byTcp("node0", 29500) },
    ],
    ["torchrun's variables, set by hand", torchrun, { rank: 3, size: 4, localRank: 1, link: byTcp("node0", 29500) }],
    [
      "Kubeflow's PyTorchJob",
      { ...torchrun, LOCAL_RANK: undefined, PET_NNODES: "4", PET_NODE_RANK: "3", PET_NPROC_PER_NODE: "auto" },
      { rank: 3, size: 4, localRank: 0, link: byTcp("node0", 29500) },
    ],
    [
      "Kubeflow's TrainJob, a process in each pod",
      trainJob,
      { rank: 1, size: 2, localRank: 0, link: byTcp("llama-node-0-0.llama", 29500) },
    ],
    ["mpirun", openMpi, { rank: 1, size: 2, localRank: 1, link: { kind: "mpi" } }],
    [
      "mpirun in a batch script of Slurm",
      { ...openMpi, ...slurm, SLURM_STEP_ID: undefined },
      { rank: 1, size: 2, localRank: 1, link: { kind: "mpi" } },
    ],
    [
      "mpirun with TCP asked for",
      { ...openMpi, LLAMA_DISTRIBUTED: "tcp", MASTER_ADDR: "127.0.0.1", MASTER_PORT: "4000" },
      { rank: 1, size: 2, localRank: 1, link: byTcp("127.0.0.1", 4000) },
    ],
    ["srun", slurm, { rank: 5, size: 8, localRank: 1, link: byTcp("gpu03", 61440 + ((9000 + 2) % 4096)) }],
    [
      "srun with what scripts export for torch",
      { ...slurm, WORLD_SIZE: "8", MASTER_ADDR: "gpu04", MASTER_PORT: "12345" },
      { rank: 5, size: 8, localRank: 1, link: byTcp("gpu04", 12345) },
    ],
    ["srun with MPI asked for", { ...slurm, LLAMA_DISTRIBUTED: "mpi" }, { rank: 5, size: 8, link: { kind: "mpi" } }],
    [
      "srun that names no nodes",
      { ...slurm, SLURM_STEP_NODELIST: undefined, SLURM_LAUNCH_NODE_IPADDR: "10.0.0.7" },
      { rank: 5, size: 8, link: { kind: "tcp", host: "10.0.0.7" } },
    ],
  ])("is read from the variables of %s", (_, env, expected) => {
    expect(readRanks(env)).toMatchObject({ ...expected, timeoutSeconds: 600 });
  });

  it.each([
    ["without a launcher", {}],
    ["in a job of Slurm with one task", { ...slurm, SLURM_PROCID: "0", SLURM_STEP_NUM_TASKS: "1", SLURM_LOCALID: "0" }],
    ["in a batch script with one task", { SLURM_JOB_ID: "9000", SLURM_PROCID: "0", SLURM_NTASKS: "1" }],
    ["alone under torchrun", { ...torchrun, RANK: "0", WORLD_SIZE: "1", LOCAL_RANK: "0" }],
    ["in the only pod of a TrainJob", { ...trainJob, PET_NNODES: "1", PET_NODE_RANK: "0" }],
    ["where it was told to be alone", { ...torchrun, LLAMA_DISTRIBUTED: "off" }],
    ["where variables are empty", { RANK: "", WORLD_SIZE: "", MASTER_ADDR: "" }],
  ])("is the only one %s", (_, env) => {
    expect(readRanks(env)).toMatchObject({ rank: 0, size: 1, localRank: 0, link: null });
  });

  it("has the patience that it is told to have", () => {
    expect(readRanks({ ...torchrun, LLAMA_DISTRIBUTED_TIMEOUT: "30" }).timeoutSeconds).toBe(30);
  });
});

describe("variables that cannot be meant so", () => {
  const { RANK: _, ...withoutRank } = torchrun;
  it.each([
    [
      { ...torchrun, WORLD_SIZE: undefined },
      "WORLD_SIZE is not set, but RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT are",
    ],
    [withoutRank, "RANK is not set, but WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT are"],
    [{ MASTER_ADDR: "node0" }, "WORLD_SIZE is not set, but MASTER_ADDR is"],
    [{ MASTER_PORT: "29500" }, "WORLD_SIZE is not set, but MASTER_PORT is"],
    [{ LOCAL_RANK: "0" }, "WORLD_SIZE is not set, but LOCAL_RANK is"],
    [{ RANK: "0", TORCHELASTIC_RUN_ID: "x" }, "WORLD_SIZE is not set, but RANK is"],
    [{ OMPI_COMM_WORLD_RANK: "1" }, "OMPI_COMM_WORLD_SIZE is not set, but OMPI_COMM_WORLD_RANK is"],
    [{ PET_NNODES: "2" }, "PET_NODE_RANK is not set, but PET_NNODES is"],
    [{ PET_NNODES: "1:3" }, 'PET_NNODES is "1:3", not an integer from 1 to 4096'],
    [
      { ...slurm, SLURM_STEP_NUM_TASKS: undefined },
      "SLURM_STEP_NUM_TASKS is not set, but SLURM_PROCID, SLURM_LOCALID are",
    ],
    [{ ...torchrun, MASTER_ADDR: undefined }, "MASTER_ADDR is not set"],
    [{ ...torchrun, MASTER_PORT: undefined }, "MASTER_PORT is not set"],
    [{ ...torchrun, RANK: "4" }, 'RANK is "4", not an integer from 0 to 3'],
    [{ ...torchrun, RANK: "-1" }, 'RANK is "-1", not an integer from 0 to 3'],
    [{ ...torchrun, RANK: "1.0" }, 'RANK is "1.0", not an integer'],
    [{ ...torchrun, WORLD_SIZE: "two" }, 'WORLD_SIZE is "two", not an integer from 1 to 4096'],
    [{ ...torchrun, MASTER_PORT: "0" }, 'MASTER_PORT is "0", not an integer from 1 to 65535'],
    [{ ...torchrun, MASTER_ADDR: "a b" }, 'MASTER_ADDR is "a b", no host name'],
    [{ ...torchrun, ...openMpi, RANK: "0" }, "WORLD_SIZE=4 contradicts OMPI_COMM_WORLD_SIZE=2"],
    [{ ...slurm, RANK: "0", WORLD_SIZE: "8" }, "RANK=0 contradicts SLURM_PROCID=5"],
    [
      { ...torchrun, LOCAL_RANK: undefined, PET_NPROC_PER_NODE: "2" },
      "PET_NPROC_PER_NODE is 2, but this pod started one process",
    ],
    [{ ...trainJob, PET_NPROC_PER_NODE: "8" }, "PET_NPROC_PER_NODE is 8, but this pod started one process"],
    [
      { SLURM_JOB_ID: "9000", SLURM_PROCID: "0", SLURM_NTASKS: "8" },
      "SLURM_NTASKS is 8, but this process was not started by srun",
    ],
    [{ LLAMA_DISTRIBUTED: "yes" }, 'LLAMA_DISTRIBUTED is "yes", known are auto, off, tcp, mpi'],
    [{ LLAMA_DISTRIBUTED_TIMEOUT: "soon" }, 'LLAMA_DISTRIBUTED_TIMEOUT is "soon", not an integer'],
    [{ ...openMpi, LLAMA_DISTRIBUTED: "tcp" }, "MASTER_ADDR is not set"],
  ])("%o", (env, message) => {
    expect(() => readRanks(env)).toThrowError(
      expect.objectContaining({ code: "DISTRIBUTED_ENVIRONMENT", message: expect.stringContaining(message) }),
    );
  });
});

describe("the first host of Slurm's list", () => {
  it.each([
    ["gpu7", "gpu7"],
    ["gpu7,gpu8", "gpu7"],
    ["gpu[003-005,9],login1", "gpu003"],
    ["r[1-2]n[04,7]-ib,other", "r1n04-ib"],
    ["", ""],
  ])("of %s is %s", (list, host) => {
    expect(firstHost(list)).toBe(host);
  });
});
