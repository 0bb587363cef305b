import { open } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, join } from "node:path";
import { mediaTypeOf } from "../../media-types.ts";
import { Failure, systemErrorText } from "../failure.ts";

/** A data URL is one string, and a string of Node ends at 2^29 characters: base64 of 360 MiB stays below. */
const maximumBytes = 360 * 2 ** 20;

/**
 * The data URL for `@path`. `named` adds the file's base name as a parameter (`data:application/json;name=data.json;base64,…`):
 * our own server uses it in messages and as `Path.name`; other servers get the plain form.
 */
export async function fileAsDataUrl(input: string, path: string, named: boolean): Promise<string> {
  const bytes = await readInputFile(input, path);
  const name = named ? `;name=${encodeURIComponent(basename(path))}` : "";
  return `data:${mediaTypeOf(path)}${name};base64,${bytes.toString("base64")}`;
}

async function readInputFile(input: string, path: string): Promise<Buffer> {
  const expanded = path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
  let step = "open";
  try {
    const file = await open(expanded);
    try {
      step = "read";
      const { size } = await file.stat();
      if (size > maximumBytes)
        throw new Failure(
          `input "${input}": ${path} has ${size} bytes; files up to ${maximumBytes} bytes can be sent`,
          {
            hint: "Put larger files on a web server and pass their URL instead of @file.",
          },
        );
      return await file.readFile();
    } finally {
      await file.close();
    }
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw new Failure(`input "${input}": ${step} ${path}: ${systemErrorText(error)}`);
  }
}
