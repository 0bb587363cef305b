import type { Ranks } from "../../engine/engine.ts";
import type { CodedError } from "../../errors/index.ts";
import { type Launcher, launchersOf, masterVariables } from "./launchers.ts";
import { linkOf, readMode } from "./link.ts";
import { type Environment, integer, isSet, wrong } from "./variables.ts";

const mostRanks = 4096;
const defaultTimeout = 600;
const longestTimeout = 7 * 24 * 3600;

/** A process that trains alone. */
export const oneRank: Ranks = { rank: 0, size: 1, localRank: 0, link: null, timeoutSeconds: defaultTimeout };

/**
 * What the launcher of this process says: torchrun and who else sets its variables, Kubeflow, Slurm's srun, Open MPI's
 * mpirun; one rank without any of them. The user's own are LLAMA_DISTRIBUTED (auto, off, tcp, mpi) and
 * LLAMA_DISTRIBUTED_TIMEOUT (seconds).
 * @throws CodedError DISTRIBUTED_ENVIRONMENT naming the variable that is missing, impossible or contradicts another
 */
export function readRanks(env: Environment = process.env): Ranks {
  const mode = readMode(env);
  const timeoutSeconds = integer(env, "LLAMA_DISTRIBUTED_TIMEOUT", 1, longestTimeout) ?? defaultTimeout;
  const launchers = mode === "off" ? [] : launchersOf(env);
  if (launchers.length === 0) return oneRank;
  const size = agreed(env, launchers, "size", 1, mostRanks);
  const rank = agreed(env, launchers, "rank", 0, (size ?? mostRanks) - 1);
  if (size === null || rank === null) throw incomplete(env, launchers, size === null ? "size" : "rank");
  if (size === 1) return oneRank;
  const localRank = agreed(env, launchers, "localRank", 0, size - 1) ?? 0;
  return { rank, size, localRank, link: linkOf(env, mode, launchers), timeoutSeconds };
}

/** What all launchers say that say something; null where none does. */
function agreed(
  env: Environment,
  launchers: readonly Launcher[],
  field: keyof Launcher,
  least: number,
  most: number,
): number | null {
  const found = launchers.flatMap((launcher) => {
    const name = launcher[field];
    const value = name === null ? null : integer(env, name, least, most);
    return value === null ? [] : [{ name, value }];
  });
  const [first, second] = found;
  if (first && second && first.value !== second.value) {
    throw wrong(
      `${first.name}=${first.value} contradicts ${second.name}=${second.value}`,
      "Leave out what the launcher did not set itself.",
    );
  }
  return first?.value ?? null;
}

function incomplete(env: Environment, launchers: readonly Launcher[], field: "rank" | "size"): CodedError {
  const known = [
    ...launchers.flatMap(({ rank, size, localRank }) => [rank, size, localRank ?? rank]),
    ...masterVariables,
  ];
  const set = [...new Set(known)].filter((name) => isSet(env, name));
  return wrong(
    `${launchers.at(-1)![field]} is not set, but ${set.join(", ")} ${set.length === 1 ? "is" : "are"}`,
    "A rank needs RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; a process without any of them trains alone.",
  );
}
