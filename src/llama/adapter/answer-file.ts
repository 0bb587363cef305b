import { createReadStream, createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { CodedError } from "../../errors/index.ts";

/** How far into the file the archive may begin: behind other fields of the answer. */
const longestHead = 65_536;

export interface AnswerFileOptions {
  /** The file's name in messages. */
  readonly name: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes the archive that is inside the file `weights` of Cog's own client: the answer of a training as JSON,
 * `{"weights": "data:application/gzip;base64,..."}`. False where the file is something else; nothing is written then.
 * @throws ADAPTER_CORRUPT
 */
export async function unpackAnswer(
  file: string,
  archive: string,
  { name, signal }: AnswerFileOptions,
): Promise<boolean> {
  const head = await headOf(file);
  const found = /^\s*\{(?:.*?[,\s])?"weights"\s*:\s*"data:[^",]*;base64,/s.exec(head);
  if (found === null) return false;
  const text = createReadStream(file, { start: found[0].length, encoding: "latin1" });
  const decoded = (chunks: AsyncIterable<string>) => decodedUntilQuote(chunks, name);
  await pipeline(text, decoded, createWriteStream(archive), { signal: signal as AbortSignal });
  return true;
}

async function headOf(file: string): Promise<string> {
  const handle = await open(file);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(longestHead), 0, longestHead, 0);
    return buffer.toString("latin1", 0, bytesRead);
  } finally {
    await handle.close();
  }
}

async function* decodedUntilQuote(chunks: AsyncIterable<string>, name: string): AsyncGenerator<Buffer> {
  let rest = "";
  for await (const chunk of chunks) {
    const end = chunk.indexOf('"');
    rest += end < 0 ? chunk : chunk.slice(0, end);
    if (!/^[A-Za-z0-9+/]*=*$/.test(rest)) throw damaged(name, "holds characters that are not base64");
    // Four characters are three bytes.
    const whole = end < 0 ? rest.length - (rest.length % 4) : rest.length;
    yield Buffer.from(rest.slice(0, whole), "base64");
    rest = rest.slice(whole);
    if (end >= 0) return;
  }
  throw damaged(name, "ends in the middle");
}

function damaged(name: string, what: string): CodedError {
  return new CodedError("ADAPTER_CORRUPT", `${name}: the adapter inside this JSON ${what}`, {
    hint: "Take the file that `cog train` wrote as it is.",
  });
}
