import { linearNames, linearPath } from "../../engine/config.ts";

/** A module of the base that an adapter's tensor belongs to. */
export interface ModulePath {
  /** As transformers has it: "model.layers.0.self_attn.q_proj", "model.embed_tokens", "lm_head". */
  readonly path: string;
  /** Whether "base_model.model." is missing in front, without which PEFT loads nothing. */
  readonly isBare: boolean;
}

/** What torch.compile, DistributedDataParallel, FSDP and activation checkpointing put between the parts of a name. */
const wrappers = new Set(["module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"]);
/** What stands before a LLaMA's own modules, any number of times. */
const prefixes = new Set(["base_model", "model"]);

const inBlock = new Set([
  ...linearNames.map((name) => linearPath(0, name).replace("model.layers.0.", "")),
  ...["input_layernorm", "post_attention_layernorm", "self_attn.q_norm", "self_attn.k_norm"],
]);
const underscored = new Map([...inBlock].map((path) => [path.replaceAll(".", "_"), path]));

/** The one module of a LLaMA that a name can mean; null where there is none. */
export function modulePathOf(name: string): ModulePath | null {
  return kohyaPath(name) ?? dottedPath(name);
}

function dottedPath(name: string): ModulePath | null {
  const parts = name.split(".").filter((part) => !wrappers.has(part));
  const first = parts.findIndex((part) => !prefixes.has(part));
  if (first < 0) return null;
  const isBare = parts[0] !== "base_model";
  const path = pathOf(parts.slice(first).join("."));
  return path === null ? null : { path, isBare };
}

function pathOf(name: string): string | null {
  if (name === "lm_head") return name;
  if (name === "embed_tokens" || name === "norm") return `model.${name}`;
  const [, layer, rest] = /^layers\.(\d{1,9})\.(.+)$/.exec(name) ?? [];
  return rest !== undefined && inBlock.has(rest) ? `model.layers.${Number(layer)}.${rest}` : null;
}

/** "lora_te_model_layers_0_self_attn_q_proj" of kohya's sd-scripts and its descendants. */
function kohyaPath(name: string): ModulePath | null {
  const [, rest] = /^(?:lora_[a-z]+\d?_)?(?:model_)*(layers_\d.*|lm_head)$/.exec(name) ?? [];
  if (rest === undefined) return null;
  if (rest === "lm_head") return name === rest ? null : { path: rest, isBare: true };
  const [, layer, module] = /^layers_(\d{1,9})_(\w+)$/.exec(rest) ?? [];
  const path = module === undefined ? undefined : underscored.get(module);
  return path === undefined ? null : { path: `model.layers.${Number(layer)}.${path}`, isBare: true };
}
