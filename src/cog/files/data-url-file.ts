import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { inStorage } from "../../temporary/failure.ts";
import { makeFolder } from "../../temporary/folders.ts";
import { extensionFor } from "../media-types.ts";
import { readDataUrl } from "./data-url.ts";

/** A file on this machine that a client sent. */
export interface InputFile {
  readonly path: string;
  /** What the client calls it. */
  readonly name: string;
}

/** Writes the content of a data URL into `folder`, which is made if need be. @throws CodedError INPUT_FILE, TEMPORARY_FOLDER */
export async function writeDataUrl(url: string, folder: string): Promise<InputFile> {
  const { mediaType, name, bytes } = readDataUrl(url);
  makeFolder(folder);
  const plain = `file${extensionFor(mediaType)}`;
  const path = join(folder, randomBytes(6).toString("hex") + plain);
  await inStorage(writeFile(path, bytes, { mode: 0o600 }));
  return { path, name: name ?? plain };
}
