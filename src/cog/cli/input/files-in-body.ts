import { open, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { temporaryFolder } from "../../../temporary/folders.ts";
import { Failure } from "../../../terminal/failure.ts";
import { largestBody } from "../../http/body.ts";
import { mediaTypeOf } from "../../media-types.ts";
import { expanded, fileFailure, type InputFiles } from "./files.ts";

/** For a server elsewhere: files travel as data URLs in the request, which may have 100 MiB. */
export class FilesInBody implements InputFiles {
  readonly onlyUrls: boolean;
  readonly #isOurs: boolean;
  #room = largestBody;

  /** `isOurs`: the server runs this package, which reads a file's name in its data URL; others get the plain form. */
  constructor({ isOurs }: { isOurs: boolean }) {
    this.#isOurs = isOurs;
    this.onlyUrls = isOurs;
  }

  async file(input: string, path: string): Promise<string> {
    const source = expanded(path);
    const found = await stat(source).catch((error) => {
      throw fileFailure(input, "open", path, error);
    });
    if (!found.isDirectory()) return this.#dataUrl(input, path, this.#isOurs ? basename(path) : null);
    const folder = await temporaryFolder("inputs");
    try {
      const archive = join(folder, `${basename(source)}.tar`);
      const { packFolder } = await import("./folder.ts");
      await packFolder(source, archive).catch((error) => {
        throw fileFailure(input, "pack", path, error);
      });
      return await this.#dataUrl(input, archive, this.#isOurs ? basename(archive) : null);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  address(url: string): string {
    return url;
  }

  text(input: string, path: string): Promise<string> {
    return this.#dataUrl(input, path, null);
  }

  async #dataUrl(input: string, path: string, name: string | null): Promise<string> {
    const bytes = await this.#read(input, path);
    const parameter = name === null ? "" : `;name=${encodeURIComponent(name)}`;
    return `data:${mediaTypeOf(path)}${parameter};base64,${bytes.toString("base64")}`;
  }

  async #read(input: string, path: string): Promise<Buffer> {
    let step: "open" | "read" = "open";
    try {
      const file = await open(expanded(path));
      try {
        step = "read";
        this.#take(input, path, (await file.stat()).size);
        return await file.readFile();
      } finally {
        await file.close();
      }
    } catch (error) {
      throw fileFailure(input, step, path, error);
    }
  }

  #take(input: string, path: string, size: number): void {
    this.#room -= Math.ceil(size / 3) * 4;
    if (this.#room >= 0) return;
    const most = ((largestBody / 4) * 3) / 1e6;
    throw new Failure(
      `input "${input}": ${path} has ${(size / 1e6).toFixed(1)} MB; a request to a server holds ${most.toFixed(1)} MB of files`,
      { hint: `Put it where the server can fetch it and give its URL: -i ${input}=https://...` },
    );
  }
}
