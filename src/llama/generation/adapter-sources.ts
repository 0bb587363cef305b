import { CodedError } from "../../errors/index.ts";
import type { AdapterSource } from "../adapter/index.ts";
import { type FileLike, type GenerateOptions, placeOf } from "./options.ts";

/** Adapters that one request may add up. */
export const mostAdapters = 8;

/**
 * The adapters of a request, each with its weight; none where it names none.
 * @throws ADAPTER_CONFIG for another number of weights than of adapters, or more of them than are allowed
 */
export function weightedSources({ adapter = null, adapter_scale: weights = null }: GenerateOptions): AdapterSource[] {
  const files = adapter === null ? [] : isList(adapter) ? adapter : [adapter];
  if (files.length > mostAdapters) {
    throw new CodedError("ADAPTER_CONFIG", `adapter: ${files.length} files, at most ${mostAdapters} are used at once`);
  }
  if (weights !== null && weights.length > 0 && weights.length !== files.length) {
    throw new CodedError("ADAPTER_CONFIG", `adapter_scale: ${weights.length} given, adapter: ${files.length} given`, {
      hint: "Give one adapter_scale for each adapter, in the same order, or none.",
    });
  }
  return files.map((file, i) => ({ ...placeOf(file), weight: weights?.[i] ?? 1 }));
}

function isList(value: FileLike | readonly FileLike[]): value is readonly FileLike[] {
  return Array.isArray(value);
}
