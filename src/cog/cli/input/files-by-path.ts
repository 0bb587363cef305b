import { createReadStream, createWriteStream } from "node:fs";
import { access, constants, mkdtemp, rm, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { temporaryFolder } from "../../../temporary/folders.ts";
import type { LocalFiles } from "../../files/local-files.ts";
import { expanded, fileFailure, type InputFiles } from "./files.ts";
import { FilesInBody } from "./files-in-body.ts";

/** For this command's own server: files of any size are read where they lie, and addresses may be inside the network. */
export class FilesByPath implements InputFiles {
  readonly onlyUrls = true;
  readonly #local: LocalFiles;
  readonly #inBody = new FilesInBody({ isOurs: true });
  /** For what is no file: folders and pipes. */
  #folder: string | null = null;

  constructor(local: LocalFiles) {
    this.#local = local;
  }

  async file(input: string, path: string): Promise<string> {
    const source = resolve(expanded(path));
    try {
      const found = await stat(source);
      if (found.isDirectory()) return await this.#folderAsTar(input, path, source);
      await access(source, constants.R_OK);
      if (found.isFile()) return this.#local.add({ path: source, name: basename(path) });
    } catch (error) {
      throw fileFailure(input, "open", path, error);
    }
    // A pipe, such as <(command) of a shell: the model's process could not open it.
    const copy = await this.#temporary(basename(path));
    await pipeline(createReadStream(source), createWriteStream(copy, { mode: 0o600 })).catch((error) => {
      throw fileFailure(input, "read", path, error);
    });
    return this.#local.add({ path: copy, name: basename(path) });
  }

  address(url: string): string {
    return this.#local.add({ url });
  }

  text(input: string, path: string): Promise<string> {
    return this.#inBody.text(input, path);
  }

  /** Removes what was written for the run; the user's own files stay. */
  async close(): Promise<void> {
    if (this.#folder !== null) await rm(this.#folder, { recursive: true, force: true });
  }

  async #folderAsTar(input: string, path: string, folder: string): Promise<string> {
    const name = `${basename(folder)}.tar`;
    const archive = await this.#temporary(name);
    // Loaded here: few inputs are folders.
    const { packFolder } = await import("./folder.ts");
    await packFolder(folder, archive).catch((error) => {
      throw fileFailure(input, "pack", path, error);
    });
    return this.#local.add({ path: archive, name });
  }

  async #temporary(name: string): Promise<string> {
    this.#folder ??= await temporaryFolder("inputs");
    return join(await mkdtemp(join(this.#folder, "input-")), name);
  }
}
