import { inspect } from "node:util";
import { CodedError } from "../errors/index.ts";
import { isFileName } from "./schema/train-output.ts";

const refusedNames = new Set([
  "PATH",
  "LD_LIBRARY_PATH",
  "PYTHONPATH",
  "VIRTUAL_ENV",
  "PYTHONUNBUFFERED",
  "LIBRARY_PATH",
  "HF_ENDPOINT",
  "HF_HUB_ENABLE_HF_TRANSFER",
]);
const refusedPrefixes = ["R8_", "REPLICATE_", "CUDA_", "NVIDIA_", "NV_", "PGET_", "KUBERNETES_"];

/** Typed access to the keys of cog.yaml, with errors that name the file and the key. */
export class ConfigReader {
  readonly #file: string;
  readonly #config: Record<string, unknown>;

  constructor(file: string, config: Record<string, unknown>) {
    this.#file = file;
    this.#config = config;
  }

  text(key: string): string | null {
    const value = this.#config[key] ?? null;
    if (value !== null && typeof value !== "string") throw this.#wrong(key, "must be text");
    return value === "" ? null : value;
  }

  section(key: string): Record<string, unknown> {
    const value = this.#config[key] ?? {};
    if (typeof value !== "object" || Array.isArray(value)) throw this.#wrong(key, "must hold keys and values");
    return value as Record<string, unknown>;
  }

  trainOutput(): string | null {
    const name = this.text("train_output");
    if (name !== null && !isFileName(name))
      throw this.#wrong("train_output", "must be the name of a file, without a folder");
    return name;
  }

  concurrency(): number | null {
    const max = this.section("concurrency").max ?? null;
    if (max === null) return null;
    if (!Number.isInteger(max) || (max as number) < 1)
      throw this.#wrong("concurrency.max", "must be a positive integer");
    return max as number;
  }

  environment(): Map<string, string> {
    const list = this.#config.environment ?? [];
    if (!Array.isArray(list)) throw this.#wrong("environment", "must be a list of NAME=value");
    const entries = new Map<string, string>();
    for (const item of list) {
      const match = typeof item === "string" ? /^([A-Za-z_][A-Za-z0-9_]*)=([\s\S]*)$/.exec(item) : null;
      if (!match) throw this.#wrong("environment", `${shown(item)} is not of the form NAME=value`);
      const name = match[1]!;
      if (refusedNames.has(name) || refusedPrefixes.some((prefix) => name.startsWith(prefix))) {
        throw this.#wrong("environment", `${name} may not be set here`);
      }
      entries.set(name, match[2]!);
    }
    return entries;
  }

  #wrong(key: string, problem: string): CodedError {
    return new CodedError("PROJECT_CONFIG", `${this.#file}: ${key} ${problem}`);
  }
}

/** YAML may hold a list that holds itself, which JSON cannot show. */
function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : inspect(value, { depth: 1, breakLength: Infinity });
}
