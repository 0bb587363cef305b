import { readdir } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { CodedError } from "../../../errors/index.ts";
import { type GgufHeader, readGgufHeader } from "./header.ts";

/** What `llama-gguf-split` calls its parts; numbers begin at 1. */
const partName = /^(.+)-(\d{5})-of-(\d{5})\.gguf$/;
const mostParts = 1000;

/**
 * The GGUF model in a folder: its only file, or the first part of its only split one; null where there is none.
 * @throws CHECKPOINT_AMBIGUOUS listing the models there are to choose from
 */
export function ggufModelIn(folder: string, names: readonly string[]): string | null {
  const models = new Map<string, string>();
  for (const name of names.filter(isGgufName).toSorted()) {
    const part = partName.exec(name);
    const model = part === null ? name : `${part[1]} in ${Number(part[3])} parts`;
    if (!models.has(model)) models.set(model, name);
  }
  if (models.size > 1) {
    throw new CodedError("CHECKPOINT_AMBIGUOUS", `${folder}: holds several models: ${[...models.keys()].join(", ")}`, {
      hint: "Name the file of one of them in LLAMA_WEIGHTS, or move the others away",
    });
  }
  const [only] = models.values();
  return only === undefined ? null : join(folder, only);
}

function isGgufName(name: string): boolean {
  return /\.gguf$/i.test(name);
}

/** Paths of a GGUF model's parts, of which `file` is any, in order: itself where its name says that it is no part. */
export function partsOf(file: string): string[] {
  const [, name, , count] = partName.exec(basename(file)) ?? [];
  if (count === undefined) return [file];
  const part = (number: number) => `${name}-${String(number).padStart(5, "0")}-of-${count}.gguf`;
  return Array.from({ length: Number(count) }, (_, i) => join(dirname(file), part(i + 1)));
}

/**
 * The headers of a GGUF model: one, or those of all parts of a split one, the first (which has the metadata) first. `file`
 * may be any of the parts.
 * @throws CHECKPOINT_NOT_FOUND naming a part that is missing, CHECKPOINT_CORRUPT where parts contradict each other, and what
 *   readGgufHeader throws
 */
export async function readParts(file: string): Promise<[GgufHeader, ...GgufHeader[]]> {
  const folder = dirname(file);
  const part = partName.exec(basename(file));
  const count = part === null ? 1 : Number(part[3]);
  if (count === 1) {
    const header = await readGgufHeader(file);
    const said = splitNumber(header, "split.count") ?? 1;
    if (said > 1)
      throw contradicts(file, `is one of ${said} parts, which its name must say: NAME-00001-of-0000${said}.gguf`);
    return [header];
  }
  if (count > mostParts)
    throw contradicts(file, `is named as one of ${count} parts, at most ${mostParts} are possible`);
  const names = new Set(await readdir(folder));
  const files = partsOf(file);
  const missing = files.map((path) => basename(path)).filter((name) => !names.has(name));
  if (missing.length > 0) {
    const more = missing.length > 1 ? ` and ${missing.length - 1} more` : "";
    throw new CodedError(
      "CHECKPOINT_NOT_FOUND",
      `${join(folder, missing[0]!)}${more}: no such file (parts of a model)`,
      {
        hint: "Download the missing parts into the same folder",
      },
    );
  }
  const headers: GgufHeader[] = [];
  for (const [number, path] of files.entries()) {
    const header = await readGgufHeader(path);
    checkPart(header, number, count);
    // Keys of the others say no more than which part they are.
    headers.push(number === 0 ? header : { ...header, metadata: new Map() });
  }
  const [first, ...rest] = headers as [GgufHeader, ...GgufHeader[]];
  checkTogether(first, rest);
  return [first, ...rest];
}

function checkPart(header: GgufHeader, number: number, count: number): void {
  const [said, of] = [splitNumber(header, "split.no"), splitNumber(header, "split.count")];
  if (said !== number || of !== count) {
    const found = said === null ? "nothing says that it is one" : `it says number ${said} of ${of}, from 0 on`;
    throw contradicts(header.file, `is named as part ${number + 1} of ${count}, but ${found}`);
  }
}

function checkTogether(first: GgufHeader, rest: readonly GgufHeader[]): void {
  const seen = new Map<string, string>();
  for (const { file, tensors } of [first, ...rest]) {
    for (const name of tensors.keys()) {
      const other = seen.get(name);
      if (other !== undefined)
        throw contradicts(file, `has tensor ${JSON.stringify(name)}, which is in ${basename(other)} too`);
      seen.set(name, file);
    }
  }
  const total = splitNumber(first, "split.tensors.count");
  if (total !== null && total !== seen.size) {
    throw contradicts(first.file, `split.tensors.count is ${total}, the parts have ${seen.size} tensors`);
  }
}

function splitNumber({ metadata }: GgufHeader, key: string): number | null {
  const value = metadata.get(key);
  return typeof value === "number" ? value : null;
}

function contradicts(file: string, what: string): CodedError {
  return new CodedError("CHECKPOINT_CORRUPT", `${file}: ${what}`, {
    hint: "Download the parts of one model into a folder of their own, under their names",
  });
}
