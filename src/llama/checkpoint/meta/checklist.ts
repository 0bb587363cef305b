import { createHash } from "node:crypto";
import { join } from "node:path";
import { CodedError } from "../../../errors/index.ts";
import { openRegularFile, readRegularFile } from "../../regular-file.ts";
import { checkpointErrors } from "../safetensors.ts";

const maxBytes = 2 ** 16;

export interface ChecklistOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes that were read since the last call. */
  readonly onBytes?: (bytes: number) => void;
}

/**
 * Compares the weights in a Meta folder with checklist.chk, where there is one: lines "<MD5>  <file>". Reads every byte of them.
 * @returns how many files were compared: 0 without a list
 * Throws CHECKPOINT_CORRUPT naming a file that differs, or a line that is none; CHECKPOINT_NOT_FOUND naming one that is missing.
 */
export async function compareChecklist(folder: string, options: ChecklistOptions = {}): Promise<number> {
  const list = join(folder, "checklist.chk");
  const bytes = await readRegularFile(list, { ...checkpointErrors, maxBytes });
  if (bytes === null) return 0;
  const entries = parseChecklist(bytes.toString("utf8"), list);
  for (const [name, expected] of entries) {
    const file = join(folder, name);
    if ((await md5(file, options)) === expected) continue;
    throw new CodedError("CHECKPOINT_CORRUPT", `${file}: its MD5 is not the one that ${list} gives`, {
      hint: "Download the file again; a download that was cut short or resumed wrongly looks like this",
    });
  }
  return entries.length;
}

/** The weights in the list: params.json is edited by hand, and the tokenizer lies elsewhere. Throws CHECKPOINT_CORRUPT. */
export function parseChecklist(text: string, file: string): [name: string, md5: string][] {
  return text.split(/\r?\n/).flatMap((line, i): [string, string][] => {
    if (line.trim() === "") return [];
    const [, md5, name] = /^([0-9a-fA-F]{32}) [ *]([\w.-]{1,255})$/.exec(line.trim()) ?? [];
    if (md5 === undefined || name === undefined) {
      throw new CodedError("CHECKPOINT_CORRUPT", `${file}: line ${i + 1} is no MD5 and plain file name`);
    }
    return name.startsWith("consolidated.") ? [[name, md5.toLowerCase()]] : [];
  });
}

async function md5(file: string, { signal, onBytes }: ChecklistOptions): Promise<string> {
  const handle = await openRegularFile(file, checkpointErrors);
  const hash = createHash("md5");
  for await (const chunk of handle.createReadStream({ signal, highWaterMark: 2 ** 20 }) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    onBytes?.(chunk.length);
  }
  return hash.digest("hex");
}
