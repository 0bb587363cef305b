import type { LlamaConfig } from "../../engine/config.ts";
import { CodedError } from "../../errors/index.ts";
import { headerLimit, readSafetensorsHeader } from "../checkpoint/safetensors.ts";
import { expectedTensors } from "../checkpoint/tensors.ts";
import { openRegularFile } from "../regular-file.ts";
import type { FullAdapter } from "./adapter.ts";
import { type AlphaOf, readGgufIndex } from "./gguf-file.ts";
import { alphaValue, loadAdapter } from "./load.ts";
import type { PeftConfig } from "./peft-config.ts";
import { changesNothing, namedAs, type ReadAdapterOptions } from "./read.ts";
import { checkSize, mostAdapterBytes } from "./size.ts";
import type { Targets } from "./targets.ts";
import { adapterErrors } from "./tensor-file.ts";
import { indexTensors, layerLinears, type ModuleTensors, type TensorIndex } from "./tensor-index.ts";
import { embedding, head } from "./tensor-name.ts";

export type LooseKind = "safetensors" | "gguf";

/** What a single file holds that may be an adapter by itself, by its first bytes; null for anything else. */
export async function looseKind(file: string): Promise<LooseKind | null> {
  const handle = await openRegularFile(file, adapterErrors);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(9), 0, 9, 0);
    if (buffer.toString("latin1", 0, 4) === "GGUF") return "gguf";
    // The header's length, of less than 4 GiB, and the header.
    return bytesRead === 9 && buffer.readUInt32LE(4) === 0 && buffer[8] === 0x7b ? "safetensors" : null;
  } finally {
    await handle.close();
  }
}

/**
 * Reads an adapter of one file that says all there is to know: a GGUF LoRA, or a safetensors file of kohya's or diffusers'
 * kind. PEFT's tensors have their scale in a file beside.
 * @throws ADAPTER_* naming file and tensor
 */
export async function readLooseAdapter(
  file: string,
  kind: LooseKind,
  model: LlamaConfig,
  options: ReadAdapterOptions = {},
): Promise<FullAdapter> {
  const { name = file, mostBytes = mostAdapterBytes(model), signal } = options;
  return namedAs(name, file, async () => {
    const { index, alphaOf, warnings } =
      kind === "gguf" ? await readGgufIndex(file, model) : await safetensorsIndex(file, model);
    const targets = await targetsIn(index, model, alphaOf);
    checkSize(targets, model, mostBytes, name);
    const config = configOf(targets, index);
    const { modules, whole } = await loadAdapter({ index, targets, config, model, said: name, signal });
    const isEmpty = modules.every(changesNothing) && whole.outer.length + whole.replaced.size === 0;
    const empty = isEmpty ? [`${name}: every A or B is zero, so that the adapter changes nothing`] : [];
    return { config, modules, whole, folder: null, promptTemplate: null, warnings: [...warnings, ...empty] };
  });
}

async function safetensorsIndex(file: string, model: LlamaConfig) {
  const most = headerLimit(4 * [...expectedTensors(model)].length);
  const { tensors } = await readSafetensorsHeader(file, adapterErrors, most);
  if (tensors.size === 0) throw new CodedError("ADAPTER_CORRUPT", `${file}: holds no tensors`);
  const index = indexTensors({ label: file, tensors }, model);
  if (index.spellings.has("peft") || index.spellings.size === 0) {
    throw new CodedError("ADAPTER_NOT_FOUND", `${file}: is the tensors of a PEFT adapter alone, without their scale`, {
      hint: "Give the folder, or an archive of it, that has its adapter_config.json too.",
    });
  }
  // Without alpha the scale is 1: https://github.com/kohya-ss/sd-scripts/blob/main/networks/lora.py
  const alphaOf: AlphaOf = async (parts, rank) => {
    const alpha = parts.get("alpha");
    return alpha === undefined ? rank : alphaValue(alpha, file);
  };
  return { index, alphaOf, warnings: [] };
}

/** Every module that has a pair, with its rank by the pair's shape. */
async function targetsIn(index: TensorIndex, model: LlamaConfig, alphaOf: AlphaOf): Promise<Targets> {
  const scales = async (path: string) => {
    const parts: ModuleTensors | undefined = index.modules.get(path);
    const rank = parts?.get("A")?.tensor.shape[0] ?? parts?.get("B")?.tensor.shape[1];
    if (parts === undefined || rank === undefined || rank === 0) return null;
    const alpha = await alphaOf(parts, rank);
    return { rank, alpha, scale: alpha / rank };
  };
  const linears = [];
  for (const linear of layerLinears(model)) {
    const found = await scales(linear.path);
    if (found !== null) linears.push({ ...linear, ...found });
  }
  const outer = [];
  for (const path of [embedding, head] as const) {
    const found = await scales(path);
    if (found !== null) outer.push({ path, ...found });
  }
  return { linears, outer };
}

function configOf({ linears, outer }: Targets, { modules }: TensorIndex): PeftConfig {
  const [first] = [...linears, ...outer];
  return {
    rank: first?.rank ?? 1,
    alpha: first?.alpha ?? 1,
    dropout: 0,
    rsLora: false,
    targetModules: [...linears, ...outer].map(({ path }) => path),
    excludeModules: [],
    rankPattern: new Map([...linears, ...outer].map(({ path, rank }) => [path, rank])),
    alphaPattern: new Map([...linears, ...outer].map(({ path, alpha }) => [path, alpha])),
    layers: null,
    baseModel: null,
    dora: false,
    loraBias: false,
    modulesToSave: [...modules].flatMap(([path, parts]) => (parts.has("weight") ? [path] : [])),
    trainedTokens: new Map(),
    tiesWeights: false,
    warnings: [],
  };
}
