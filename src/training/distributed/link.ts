import type { RankLink } from "../../engine/engine.ts";
import { type Launcher, openMpi, slurm } from "./launchers.ts";
import { type Environment, integer, wrong } from "./variables.ts";

const modes = ["auto", "off", "tcp", "mpi"] as const;
export type Mode = (typeof modes)[number];

/** LLAMA_DISTRIBUTED: whether this process may be a rank among others, and how they reach each other. */
export function readMode(env: Environment): Mode {
  const text = env.LLAMA_DISTRIBUTED || "auto";
  const mode = modes.find((known) => known === text);
  if (mode === undefined) throw wrong(`LLAMA_DISTRIBUTED is ${JSON.stringify(text)}, known are ${modes.join(", ")}`);
  return mode;
}

/** MPI under mpirun, else TCP to the host and port of rank 0. */
export function linkOf(env: Environment, mode: Mode, launchers: readonly Launcher[]): RankLink {
  if (mode === "mpi" || (mode === "auto" && launchers.includes(openMpi))) return { kind: "mpi" };
  const ofSlurm = launchers.includes(slurm);
  const host = env.MASTER_ADDR || env.PET_MASTER_ADDR || (ofSlurm ? slurmHost(env) : undefined);
  if (!host)
    throw wrong("MASTER_ADDR is not set", "It is the host name or address of the machine that rank 0 runs on.");
  if (!/^[\w.:%-]{1,253}$/.test(host))
    throw wrong(`MASTER_ADDR is ${JSON.stringify(host.slice(0, 100))}, no host name`);
  const port = integer(env, "MASTER_PORT", 1, 65_535) ?? integer(env, "PET_MASTER_PORT", 1, 65_535);
  if (port !== null) return { kind: "tcp", host, port: besideAgent(env, port) };
  if (ofSlurm) return { kind: "tcp", host, port: slurmPort(env) };
  throw wrong("MASTER_PORT is not set", "It is a free port of the machine that rank 0 runs on.");
}

/** torchrun's own agent listens at MASTER_PORT as long as its ranks run. */
function besideAgent(env: Environment, port: number): number {
  if (env.TORCHELASTIC_USE_AGENT_STORE !== "True") return port;
  return port === 65_535 ? port - 1 : port + 1;
}

/** srun puts its first task on the first host. The launch node comes last: it may be one where nothing runs. */
function slurmHost(env: Environment): string | undefined {
  const nodes = env.SLURM_STEP_NODELIST || env.SLURM_JOB_NODELIST;
  return nodes ? firstHost(nodes) : env.SLURM_LAUNCH_NODE_IPADDR;
}

/** "gpu003" of "gpu[003-005,9],login1": brackets hold numbers and ranges of a part of the name. */
export function firstHost(list: string): string {
  const [first] = list.match(/^(?:\[[^\]]*\]|[^,[])+/) ?? [""];
  return first.replace(/\[([^\],-]*)[^\]]*\]/g, "$1");
}

/** The same for all ranks of a step, another for the next step; above the ports that Linux gives to clients. */
function slurmPort(env: Environment): number {
  const [first, count] = [61_440, 4096];
  const [job, step] = ["SLURM_JOB_ID", "SLURM_STEP_ID"].map((name) => integer(env, name, 0, 2 ** 32) ?? 0);
  return first + ((job! + step!) % count);
}
