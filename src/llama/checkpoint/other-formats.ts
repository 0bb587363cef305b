import { join } from "node:path";
import { CodedError } from "../../errors/index.ts";

interface Format {
  readonly files: RegExp;
  readonly is: string;
  readonly hint: string;
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
    files: /^consolidated\.|\.pth$|^params\.json$/,
    is: "is in Meta's original format",
    hint:
      `${safetensors}, or convert them with transformers: ` +
      "python -m transformers.models.llama.convert_llama_weights_to_hf --input_dir FOLDER --output_dir weights/llama",
  },
  {
    files: /\.ggml$/i,
    is: "is in the format before GGUF",
    hint: "Take a GGUF file, or safetensors, of the same model",
  },
  {
    files: /\.(bin|pt|ckpt)(\.index\.json)?$/,
    is: "holds weights as Python's pickle",
    hint: "Save the checkpoint as safetensors, with transformers: model.save_pretrained(folder, safe_serialization=True)",
  },
  { files: /\.(h5|msgpack|onnx|npz)$/i, is: "holds weights for another framework", hint: safetensors },
  { files: /\.(tar|tgz|zip)(\.\w+)?$/i, is: "is an archive", hint: "Unpack it into a folder of its own in weights/" },
];

/** @throws CHECKPOINT_UNSUPPORTED naming the first of these files that cannot be read, and what to do. */
export function refuseOtherFormats(folder: string, names: readonly string[]): void {
  const sorted = names.filter((name) => !name.startsWith("training_args")).toSorted();
  for (const { files, is, hint } of formats) {
    const name = sorted.find((candidate) => files.test(candidate));
    if (name === undefined) continue;
    throw new CodedError(
      "CHECKPOINT_UNSUPPORTED",
      `${join(folder, name)}: ${is}; only safetensors weights can be read`,
      {
        hint,
      },
    );
  }
}
