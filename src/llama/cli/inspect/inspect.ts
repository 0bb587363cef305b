import { existsSync } from "node:fs";
import { open, stat } from "node:fs/promises";
import { join } from "node:path";
import { Failure } from "../../../terminal/failure.ts";
import { parseLoraName } from "../../adapter/lora-names.ts";
import { configName } from "../../adapter/read.ts";
import { archiveKind } from "../../archive.ts";
import { readGgufHeader } from "../../checkpoint/gguf/header.ts";
import { readSafetensorsHeader, type SafetensorsEntry } from "../../checkpoint/index.ts";
import { readPytorchHeader } from "../../checkpoint/pytorch/read.ts";
import { pytorchErrors } from "../../checkpoint/pytorch/refusal.ts";
import { isMetaModel } from "../convert/meta-model.ts";
import { counted, inspectGgufAdapter, inspectLoraFile, inspectPeft } from "./adapter.ts";
import { inspectMetaModel, inspectModel } from "./model.ts";
import type { Report } from "./report.ts";

export interface InspectOptions {
  /** Whether a model's numbers are all read. */
  readonly values: boolean;
  readonly signal: AbortSignal;
}

/**
 * What a file or folder is, by its content and not by its name.
 * @throws Failure for what is none of the kinds that are known, and what the readers of each kind throw
 */
export async function inspectPath(path: string, { values, signal }: InspectOptions): Promise<Report> {
  const found = await stat(path).catch(() => null);
  if (found === null) throw new Failure(`${path}: no such file or directory`);
  if (found.isDirectory()) {
    const isModel = existsSync(join(path, "config.json"));
    if (!isModel && existsSync(join(path, configName))) return inspectPeft(path, signal);
    if (await isMetaModel(path)) return inspectMetaModel(path);
    return inspectModel(path, values, signal);
  }
  if (!found.isFile()) throw new Failure(`${path}: is neither a file nor a folder`);
  const start = await firstBytes(path);
  if (start.toString("latin1", 0, 4) === "GGUF" || path.endsWith(".gguf")) {
    const { metadata } = await readGgufHeader(path);
    return metadata.get("general.type") === "adapter" ? inspectGgufAdapter(path) : inspectModel(path, values, signal);
  }
  if (/\.(bin|pt|pth|ckpt)$/.test(path)) {
    return tensorsReport("PyTorch file", path, await readPytorchHeader(path, pytorchErrors));
  }
  const archive = await archiveKind(path, { missing: "ADAPTER_NOT_FOUND", name: path });
  if (archive !== null || start[0] === 0x7b) return inspectPeft(path, signal);
  if (start[8] !== 0x7b && !path.endsWith(".safetensors")) {
    throw new Failure(`${path}: is nothing that is known here`, {
      hint: "Known are models (Hugging Face and Meta folders, GGUF), adapters (PEFT, GGUF, LoRA files) and files of tensors.",
    });
  }
  const { tensors } = await readSafetensorsHeader(path);
  const isLora = [...tensors.keys()].some((name) => (parseLoraName(name)?.kind ?? "alpha") !== "alpha");
  return isLora ? inspectLoraFile(path) : tensorsReport("safetensors file", path, tensors);
}

async function firstBytes(path: string): Promise<Buffer> {
  const handle = await open(path);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(16), 0, 16, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

function tensorsReport(kind: string, path: string, tensors: ReadonlyMap<string, SafetensorsEntry>): Report {
  const entries = [...tensors.values()];
  return {
    kind,
    path,
    state: entries.length === 0 ? "empty" : "ok",
    problems: entries.length === 0 ? ["it holds no tensors"] : [],
    bytes: entries.reduce((sum, { bytes }) => sum + bytes, 0),
    tensors: entries.length,
    types: counted(entries.map(({ dtype }) => dtype)),
  };
}
