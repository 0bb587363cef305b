import { basename } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { parseBoundedJson } from "../bounded-json.ts";
import { readRegularFile } from "../regular-file.ts";
import { longestTemplate } from "./chat-template/sources.ts";
import { isNamedTemplate, type NamedTemplate } from "./names.ts";
import type { Segments, Slot } from "./text-template.ts";

/** The file beside an adapter's tensors that says which template it was trained with. */
export const recordName = "prompt_template.json";

/** A template as a file has it; it may be given as `prompt_template=@file.json`. */
export type TemplateRecord =
  | { readonly prompt_template_name: NamedTemplate }
  /** A model's own, as Jinja. */
  | { readonly prompt_template_name: "chat"; readonly chat_template: string }
  | AlpacaLoraTemplate;

/** templates/*.json of alpaca-lora: Python format strings with {instruction} and {input}. */
export interface AlpacaLoraTemplate {
  readonly description?: string;
  readonly prompt_input: string;
  readonly prompt_no_input: string;
  readonly response_split?: string;
}

/** A chat template is JSON text here, which may be six times as long. */
export const mostRecordBytes = 8 * longestTemplate;

/** @throws PROMPT_TEMPLATE_INVALID naming file and field */
export async function readTemplateFile(path: string, name = basename(path)): Promise<TemplateRecord> {
  const bytes = await readRegularFile(path, {
    name,
    missing: "PROMPT_TEMPLATE_INVALID",
    corrupt: "PROMPT_TEMPLATE_INVALID",
    maxBytes: mostRecordBytes,
  });
  if (bytes === null) throw invalid(name, "no such file");
  return parseTemplateRecord(bytes.toString("utf8"), name);
}

/** @throws PROMPT_TEMPLATE_INVALID naming file and field */
export function parseTemplateRecord(text: string, file: string): TemplateRecord {
  const fields = readFields(text, file);
  const field = (name: string): string => {
    const value = fields.get(name);
    if (typeof value === "string") return value;
    throw invalid(file, `field "${name}" ${value === undefined ? "is missing" : "is no text"}`);
  };
  if (!fields.has("prompt_template_name")) {
    const prompts = { prompt_input: field("prompt_input"), prompt_no_input: field("prompt_no_input") };
    for (const [name, format] of Object.entries(prompts)) formatSegments(format, `${file}: field "${name}"`);
    const others = ["description", "response_split"].filter((name) => fields.has(name));
    return { ...prompts, ...Object.fromEntries(others.map((name) => [name, field(name)])) };
  }
  const name = field("prompt_template_name");
  if (name === "chat") return { prompt_template_name: name, chat_template: field("chat_template") };
  if (isNamedTemplate(name)) return { prompt_template_name: name };
  throw invalid(file, `field "prompt_template_name" names no template: ${JSON.stringify(name).slice(0, 100)}`);
}

function readFields(text: string, file: string): ReadonlyMap<string, unknown> {
  let root: unknown;
  try {
    root = parseBoundedJson(text, 1000);
  } catch (error) {
    throw invalid(file, `not valid JSON: ${(error as Error).message}`);
  }
  if (typeof root === "object" && root !== null && !Array.isArray(root)) return new Map(Object.entries(root));
  throw invalid(file, "holds no JSON object");
}

/**
 * The segments of a Python format string: {instruction}, {input}, and doubled braces for single ones.
 * @throws PROMPT_TEMPLATE_INVALID beginning with `where`
 */
export function formatSegments(format: string, where: string): Segments {
  const segments: (string | Slot)[] = [];
  for (const [part, slot] of format.matchAll(/\{\{|\}\}|\{(instruction|input)\}|[^{}]+|[{}]/g)) {
    if (slot !== undefined) segments.push({ slot: slot as Slot["slot"] });
    else if (part === "{" || part === "}") {
      throw invalid(where, `a single "${part}"; {instruction} and {input} are filled in, other braces are doubled`);
    } else segments.push(part === "{{" || part === "}}" ? part[0]! : part);
  }
  return segments;
}

function invalid(where: string, what: string): CodedError {
  return new CodedError("PROMPT_TEMPLATE_INVALID", `${where}: ${what}`, {
    hint: 'alpaca-lora\'s template files are {"prompt_input": "...{instruction}...{input}...", "prompt_no_input": "...{instruction}..."}.',
  });
}
