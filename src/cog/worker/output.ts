import { CodedError } from "../../errors/index.ts";
import { Path, Secret } from "../schema/values.ts";
import type { OutputFile } from "./protocol.ts";

const deepest = 128;

/**
 * An author's value as plain JSON; files are taken out and listed beside it.
 * @throws CodedError OUTPUT_INVALID for what JSON cannot say (NaN, functions, bytes), naming its place
 */
export function toJson(value: unknown): { value: unknown; files: OutputFile[] } {
  if (typeof value === "string") return { value: wellFormed(value), files: [] };
  const files: OutputFile[] = [];
  return { value: convert(value, [], files), files };
}

type Place = (string | number)[];

function convert(value: unknown, at: Place, files: OutputFile[]): unknown {
  switch (typeof value) {
    case "string":
      return wellFormed(value);
    case "boolean":
      return value;
    case "number":
      if (!Number.isFinite(value)) throw invalid(at, `${value} is not a JSON number`);
      return value;
    case "bigint":
      if (value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER) {
        throw invalid(at, `${value} is beyond the integers that JSON readers keep exactly`);
      }
      return Number(value);
    case "undefined":
      return null;
    case "object":
      return value === null ? null : convertObject(value, at, files);
    default:
      throw invalid(at, `a ${typeof value} is not JSON`);
  }
}

function convertObject(value: object, at: Place, files: OutputFile[]): unknown {
  if (at.length > deepest) throw invalid(at.slice(0, 3), "is nested too deep, or in itself");
  if (value instanceof Path) {
    files.push({ at: [...at], path: value.path });
    return null;
  }
  if (value instanceof Secret) return value.toJSON();
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) throw invalid(at, "bytes are not JSON; return a Path");
  if (value instanceof Promise) throw invalid(at, "a promise is not JSON; await it");
  if (Array.isArray(value) || value instanceof Set) {
    return Array.from(value as Iterable<unknown>, (item, index) => convert(item, [...at, index], files));
  }
  if ("toJSON" in value && typeof value.toJSON === "function") return convert(value.toJSON(), at, files);
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  const result: Record<string, unknown> = {};
  for (const [key, item] of entries) {
    if (item === undefined) continue;
    const name = String(key);
    // A plain assignment to "__proto__" would set the prototype.
    Object.defineProperty(result, name, {
      value: convert(item, [...at, name], files),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return result;
}

/** Half a surrogate pair cannot be written in UTF-8; many JSON readers refuse it. */
function wellFormed(text: string): string {
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}

function invalid(at: Place, problem: string): CodedError {
  const place = at.map((part) => (typeof part === "number" ? `[${part}]` : `.${part}`)).join("");
  return new CodedError("OUTPUT_INVALID", `output${place}: ${problem}`);
}
