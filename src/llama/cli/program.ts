import { Command, InvalidArgumentError, Option } from "commander";
import type { WeightType } from "../../engine/engine.ts";
import { combinations } from "../adapter/combine.ts";
import { ggufTypes } from "../checkpoint/gguf/written-model.ts";

const force = ["--force", "Write over what is there"] as const;

/** The `llama-lora` command. Each part is loaded when it is wanted, so that all start fast. */
export function program(version: string): Command {
  const root = example(new Command("llama-lora"), [
    "llama-lora convert unconverted-weights weights",
    "llama-lora inspect weights",
  ])
    .description("Convert, merge, export, combine and inspect LLaMA models and LoRA adapters.")
    .version(`llama-lora version ${version}`, "--version", "Show the version");

  example(root.command("convert"), [
    "llama-lora convert unconverted-weights weights",
    "llama-lora convert model.gguf weights/model --dtype f16",
  ])
    .description("Write a model of any kind (Meta's files, PyTorch, GGUF, safetensors) as a Hugging Face folder")
    .argument("<in>", "folder or file of the model")
    .argument("<out>", "folder to write; weights/ keeps the models in folders of its own")
    .addOption(dtypeOption())
    .option(...force)
    .action(async (given, out, flags) => (await import("./commands/convert.ts")).convert(given, out, flags));

  example(root.command("merge"), [
    "llama-lora merge weights/llama-7b adapter.tar.gz -o merged",
    "llama-lora merge weights/llama-7b style facts -o merged --scale 0.7 --scale 0.3",
  ])
    .description("Write a model with adapters in its weights, as a Hugging Face folder")
    .argument("<base>", "folder or file of the model")
    .argument("<adapter...>", "PEFT folders, or archives of a training")
    .requiredOption("-o, --output <folder>", "Folder to write")
    .option("--scale <number>", "Factor of an adapter, once for each in their order (default: 1)", numbers)
    .addOption(dtypeOption())
    .option(...force)
    .action(async (base, adapters, flags) => (await import("./commands/merge.ts")).merge(base, adapters, flags));

  example(root.command("export"), [
    "llama-lora export weights/llama-7b -o llama-7b.gguf --type q8_0",
    "llama-lora export weights/llama-7b adapter.tar.gz -o alpaca.gguf --type q4_0",
    "llama-lora export weights/llama-7b -o meta-7b --meta",
    "llama-lora export adapter.tar.gz --base weights/llama-7b -o lora.gguf",
  ])
    .description("Write a model, with adapters in it, or an adapter alone, as a GGUF file for llama.cpp")
    .argument("<model>", "folder or file of the model; or an adapter")
    .argument("[adapter...]", "PEFT folders, or archives of a training")
    .requiredOption("-o, --output <path>", "File to write; a folder with --meta")
    .addOption(
      new Option(
        "--type <type>",
        `Type of the matrices: ${listed(Object.keys(ggufTypeNames))} (default: f16; an adapter's: f32)`,
      ).argParser((text) => oneOf(ggufTypeNames, text)),
    )
    .option("--meta", "Write Meta's format instead: a folder with consolidated.00.pth and params.json")
    .option("--base <model>", "Model of an adapter that is written alone")
    .option("--scale <number>", "Factor of an adapter, once for each in their order (default: 1)", numbers)
    .option(...force)
    .action(async (base, adapters, flags) => (await import("./commands/export.ts")).exportModel(base, adapters, flags));

  example(root.command("combine"), [
    "llama-lora combine style=0.7 facts=0.3 -o both",
    "llama-lora combine style=1 facts=-0.5 -o less --type svd --rank 16",
    "llama-lora combine one.safetensors=0.6 two.safetensors=0.6 -o both.safetensors --type linear",
  ])
    .description("Write the weighted sum of adapters as one: PEFT's, or LoRA files of other families")
    .argument("<adapter=weight...>", "PEFT folders or archives, or LoRA files (*.safetensors)")
    .requiredOption("-o, --output <path>", "Folder to write; a file for LoRA files")
    .addOption(
      new Option("--type <type>", "cat: the exact sum; linear: A to A and B to B; svd: the nearest of a rank")
        .choices(combinations)
        .default("cat"),
    )
    .option("--rank <n>", "Rank of the result of svd (default: the highest of the adapters)", rank)
    .option(...force)
    .action(async (adapters, flags) => (await import("./commands/combine.ts")).combine(adapters, flags));

  example(root.command("inspect"), ["llama-lora inspect weights/llama-7b", "llama-lora inspect adapter.tar.gz --json"])
    .description("Say what a file or folder is: a model, an adapter, a file of tensors; what it holds and needs")
    .argument("<path>", "anything")
    .option("--json", "Print the report as JSON")
    .option("--values", "Read every number of a model, to find those that are not finite")
    .action(async (path, flags) => (await import("./commands/inspect.ts")).inspect(path, flags));

  for (const command of [root, ...root.commands]) {
    command.exitOverride().configureOutput({
      outputError: (text, write) => write(`${command.helpInformation()}\n${text}`),
    });
  }
  return root;
}

function example(command: Command, lines: readonly string[]): Command {
  return command.addHelpText("after", `\nExamples:\n${lines.map((line) => `  ${line}`).join("\n")}`);
}

const weightTypes: Readonly<Record<string, WeightType>> = { f32: "F32", f16: "F16", bf16: "BF16" };

function dtypeOption(): Option {
  return new Option("--dtype <type>", "Type of the written weights: f32, f16 or bf16 (default: as they are)").argParser(
    (text) => oneOf(weightTypes, text),
  );
}

const ggufTypeNames = Object.fromEntries(ggufTypes.map((type) => [type.toLowerCase(), type]));

function oneOf<T>(values: Readonly<Record<string, T>>, text: string): T {
  const found = Object.hasOwn(values, text) ? values[text] : undefined;
  if (found === undefined) throw new InvalidArgumentError(`${listed(Object.keys(values))} is expected`);
  return found;
}

/** "f32, f16 or bf16" */
function listed(names: readonly string[]): string {
  return `${names.slice(0, -1).join(", ")} or ${names.at(-1)}`;
}

function numbers(text: string, earlier: number[] = []): number[] {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("a number is expected");
  return [...earlier, value];
}

function rank(text: string): number {
  if (!/^[1-9]\d{0,3}$/.test(text)) throw new InvalidArgumentError("a whole number from 1 to 9999 is expected");
  return Number(text);
}
