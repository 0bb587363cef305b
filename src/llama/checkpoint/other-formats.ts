import { join } from "node:path";
import { CodedError } from "../../errors/index.ts";
import { convertCommand } from "./convert-command.ts";

interface Format {
  readonly files: RegExp;
  readonly is: string;
  readonly hint: string | ((folder: string) => string);
}

const safetensors = "Take the safetensors files of the same model";

/** Files that people put where a checkpoint belongs, the surest sign first. */
const formats: readonly Format[] = [
  {
    files: /\.(part|partial|incomplete|crdownload|aria2|download|tmp)$/i,
    is: "is a download that has not finished",
    hint: "Finish the download, or delete the file",
  },
  {
    files: /^adapter_(config\.json|model\.)/,
    is: "belongs to a LoRA adapter, which is no model",
    hint: "Give the adapter's folder in COG_WEIGHTS, and its base in LLAMA_WEIGHTS or weights/",
  },
  {
    files: /^consolidated\.|^params\.json$/,
    is: "is in Meta's original format, which is converted before it is used",
    hint: (folder) =>
      `Convert it: \`${convertCommand(folder)}\`${process.env.LLAMA_WEIGHTS ? ", then unset LLAMA_WEIGHTS" : ""}`,
  },
  {
    files: /\.ggml$/i,
    is: "is in the format before GGUF",
    hint: "Take a GGUF file, or safetensors, of the same model",
  },
  {
    files: /^(?!pytorch_model[.-]).*\.bin$/,
    is: "is not named as PyTorch weights are",
    hint: "Rename the file to pytorch_model.bin where it holds the model's state dict",
  },
  { files: /\.ckpt$/, is: "is a checkpoint of a training", hint: safetensors },
  {
    files: /\.(h5|msgpack|onnx|npz)$/i,
    is: "holds weights for another framework, which are not read",
    hint: safetensors,
  },
  {
    files: /\.(tar|tgz|zip)(\.\w+)?$/i,
    is: "is an archive, which is not read",
    hint: "Unpack it into a folder of its own in weights/",
  },
];

/** @throws CHECKPOINT_UNSUPPORTED naming the first of these files that cannot be read, and what to do. */
export function refuseOtherFormats(folder: string, names: readonly string[]): void {
  const sorted = names.filter((name) => !name.startsWith("training_args")).toSorted();
  for (const { files, is, hint } of formats) {
    const name = sorted.find((candidate) => files.test(candidate));
    if (name === undefined) continue;
    throw new CodedError("CHECKPOINT_UNSUPPORTED", `${join(folder, name)}: ${is}`, {
      hint: typeof hint === "string" ? hint : hint(folder),
    });
  }
}
