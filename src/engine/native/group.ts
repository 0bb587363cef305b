import { CodedError } from "../../errors/index.ts";
import { checkInteger } from "../arguments.ts";
import type { TrainerOptions } from "../engine.ts";
import type { AddonGroup } from "./addon.ts";
import { findBuilt } from "./built.ts";

/** The group that a trainer joins; null for one rank. Throws the signal's reason, and CodedError DISTRIBUTED_UNAVAILABLE. */
export function toAddonGroup({ ranks, agreement = "", signal }: TrainerOptions): AddonGroup | null {
  if (ranks === undefined || ranks.size === 1) return null;
  const { rank, size, link, timeoutSeconds } = ranks;
  if (link === null) throw new CodedError("ENGINE_ARGUMENT", `ranks.link is null, but ranks.size is ${size}`);
  checkInteger("ranks.size", size, 1, 2 ** 16);
  checkInteger("ranks.rank", rank, 0, size - 1);
  checkInteger("ranks.timeoutSeconds", timeoutSeconds, 1, 2 ** 20);
  signal?.throwIfAborted();
  const cancelled = new Int32Array(1);
  const cancel = () => {
    cancelled[0] = 1;
  };
  // Never taken back: a run's signal does not outlive it by long.
  signal?.addEventListener("abort", cancel, { once: true });
  const group = { rank, size, timeoutSeconds, agreement, cancelled };
  if (link.kind === "mpi") return { ...group, host: "", port: 0, mpiModule: mpiModule() };
  checkInteger("ranks.link.port", link.port, 1, 65_535);
  return { ...group, host: link.host, port: link.port, mpiModule: "" };
}

function mpiModule(): string {
  const file = findBuilt("llama_mpi.so");
  if (file !== null) return file;
  throw new CodedError("DISTRIBUTED_UNAVAILABLE", "the native engine was built without MPI", {
    hint: "Install it (Debian: libopenmpi-dev) and type npm run build; or set LLAMA_DISTRIBUTED=tcp, MASTER_ADDR and MASTER_PORT.",
  });
}
