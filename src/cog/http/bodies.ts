import type { IncomingMessage } from "node:http";
import { removeFolder, temporaryPath } from "../../temporary/folders.ts";
import type { Uploads } from "../files/uploads.ts";
import { readBody, smallBody } from "./body.ts";
import { type Envelope, type Refusal, readEnvelope } from "./envelope.ts";
import { LargeBodyReader } from "./large-body-reader.ts";
import { Room } from "./room.ts";

export interface BodiesOptions {
  /** A client may send nothing for so long. */
  readonly silenceMs: number;
  /** Bytes of large bodies that may be on their way or being read at a time. */
  readonly memory: number;
  /** Bytes of one body beside its files. */
  readonly mostText: number;
}

/** What a body says. Whoever takes the files removes their folder; else `discard` does. */
export interface Body {
  readonly envelope: Envelope;
  /** Bytes, without those of files. */
  readonly size: number;
  readonly files: { readonly folder: string; readonly uploads: Uploads } | null;
}

/** A client that finds no room for its large body waits so long. */
const patienceMs = 30_000;

const tooLarge: Refusal = { status: 413, text: "the body is larger than 100 MiB" };
const noRoom: Refusal = { status: 503, text: "too many large bodies are on their way: try again" };
const unreadable: Refusal = { status: 413, text: "the body takes more memory than it may" };

/** Reads bodies of requests: small ones at once, large ones in turn and in a thread, so that they hold up nobody. */
export class Bodies {
  readonly #options: BodiesOptions;
  readonly #room: Room;
  readonly #reader = new LargeBodyReader();
  readonly #folders = temporaryPath("body");
  #count = 0;

  constructor(options: BodiesOptions) {
    this.#options = options;
    this.#room = new Room(options.memory);
  }

  /** `fileFields`: the inputs that may hold files; null: the model is not there yet, and the input of a large body is dropped. Rejects when the client leaves or is too slow. */
  async read(req: IncomingMessage, fileFields: readonly string[] | null): Promise<Body | Refusal> {
    let leave: (() => void) | null = null;
    const enterLarge = async (bytes: number) => {
      const left = new AbortController();
      req.once("close", () => left.abort());
      leave = await this.#room.enter(bytes, { patienceMs, signal: left.signal });
      return leave !== null;
    };
    try {
      const chunks = await readBody(req, { silenceMs: this.#options.silenceMs, enterLarge });
      if (chunks === "too large") return tooLarge;
      if (chunks === "no room") return noRoom;
      const size = chunks.reduce((sum, { length }) => sum + length, 0);
      if (size > smallBody) return await this.#readLarge(chunks, size, fileFields);
      const envelope = readEnvelope(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks));
      return "status" in envelope ? envelope : { envelope, size, files: null };
    } finally {
      (leave as (() => void) | null)?.();
    }
  }

  close(): void {
    this.#reader.close();
  }

  async #readLarge(chunks: Buffer[], size: number, fileFields: readonly string[] | null): Promise<Body | Refusal> {
    this.#count += 1;
    const folder = `${this.#folders}-${this.#count}`;
    const { mostText } = this.#options;
    const answer = await this.#reader.read({ fileFields, folder: `${folder}/inputs`, mostText }, chunks);
    if (answer === null || "status" in answer.result) {
      await removeFolder(folder);
      return answer === null ? unreadable : (answer.result as Refusal);
    }
    const { result: envelope, uploads, taken } = answer;
    const hasFiles = Object.keys(uploads).length > 0;
    return { envelope, size: size - taken, files: hasFiles ? { folder, uploads } : null };
  }
}

/** Removes the files of a body that nobody has taken. */
export async function discard({ files }: Body): Promise<void> {
  if (files !== null) await removeFolder(files.folder);
}
