import { CodedError } from "../../errors/index.ts";
import type { MetricMode } from "../schema/context.ts";

const segment = /^[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)*$/;
const modes = new Set<unknown>(["replace", "increment", "append"]);

/** Cog's rules for metric names, values and modes; one per run, since a name keeps its value's type until deleted. */
export class MetricRules {
  readonly #types = new Map<string, string>();

  /** @throws CodedError METRIC_INVALID */
  check(name: string, value: unknown, mode: MetricMode): void {
    checkName(name);
    if (name === "predict_time" || name.startsWith("cog.")) throw invalid(name, "the name is reserved");
    if (!modes.has(mode)) throw invalid(name, `there is no mode ${JSON.stringify(mode)}`);
    const type = typeOf(value);
    if (type === null) throw invalid(name, "a value must be a boolean, a number, text, a list or an object");
    if (mode === "increment" && type !== "number") throw invalid(name, "increment needs a number");
    const known = this.#types.get(name);
    if (known !== undefined && known !== type) throw invalid(name, `the value was of type ${known}, now ${type}`);
    this.#types.set(name, type);
  }

  delete(name: string): void {
    checkName(name);
    this.#types.delete(name);
  }
}

function checkName(name: string): void {
  if (typeof name !== "string") throw invalid(String(name), "a name must be text");
  const segments = name.split(".");
  if (name.length > 128 || segments.length > 4 || !segments.every((part) => segment.test(part))) {
    throw invalid(
      name,
      "a name has at most 128 characters in at most 4 segments of letters, digits and single underscores",
    );
  }
}

function typeOf(value: unknown): string | null {
  if (Array.isArray(value)) return "list";
  if (typeof value === "object") return value === null ? null : "object";
  return ["boolean", "number", "string"].includes(typeof value) ? typeof value : null;
}

function invalid(name: string, problem: string): CodedError {
  return new CodedError("METRIC_INVALID", `metric ${JSON.stringify(name.slice(0, 140))}: ${problem}`);
}
