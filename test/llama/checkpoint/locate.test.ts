import { cp, mkdir, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { chooseCheckpoint, describeCheckpoint, openCheckpoint } from "../../../src/llama/checkpoint/index.ts";
import { Llama } from "../../../src/llama/index.ts";

const embedded = resolve(import.meta.dirname, "../../../weights/tiny");
const modelFiles = ["config.json", "model.safetensors"];

/** As the project's weights/, the embedded model in it. */
let weights: string;
beforeEach(async () => {
  weights = join(await mkdtemp(join(tmpdir(), "choice-")), "weights");
  await cp(embedded, join(weights, "tiny"), { recursive: true });
  await put("README.md", "");
  await put(".gitkeep", "");
});
afterEach(() => rm(dirname(weights), { recursive: true }));

async function put(path: string, content: string): Promise<void> {
  await mkdir(dirname(join(weights, path)), { recursive: true });
  await writeFile(join(weights, path), content);
}

/** Another model of the user's: the embedded one's files under its own name. */
async function putModel(folder: string, files = [...modelFiles, "tokenizer.model"]): Promise<void> {
  for (const file of files) await cp(join(embedded, file), join(weights, folder, file));
  if (!files.includes("config.json")) return;
  const config = JSON.parse(await readFile(join(embedded, "config.json"), "utf8"));
  await put(join(folder, "config.json"), JSON.stringify({ ...config, _name_or_path: "acme/Llama-2-7b" }));
}

const choose = (env: NodeJS.ProcessEnv = {}) => chooseCheckpoint(env, weights);
const refusal = async () => {
  const opened = choose().then(openCheckpoint);
  return opened.catch((error: { code: string; message: string; hint?: string }) => error);
};

describe("the model that is chosen", () => {
  it("is the embedded one where weights/ holds no other", async () => {
    expect(await choose()).toBe(join(weights, "tiny"));
  });

  it("is one in the first folder that holds any, and only then the embedded one", async () => {
    const own = join(weights, "own");
    expect(await chooseCheckpoint({}, own, weights)).toBe(join(weights, "tiny"));
    await putModel("own/tiny");
    expect(await chooseCheckpoint({}, own, weights)).toBe(join(own, "tiny"));
  });

  it.each(["", "llama-7b", "meta-llama/Llama-2-7b", "models--a--b/snapshots/main"])(
    "is the one that lies in weights/%s, not the embedded one",
    async (folder) => {
      await putModel(folder);
      expect(await choose()).toBe(join(weights, folder));
      expect(await openCheckpoint(await choose())).toMatchObject({ name: "acme/Llama-2-7b", warnings: [] });
    },
  );

  it("is that of the tutorial, weights/llama-7b with weights/tokenizer", async () => {
    await putModel("llama-7b", modelFiles);
    await putModel("tokenizer", ["tokenizer.model", "tokenizer_config.json"]);
    expect(await openCheckpoint(await choose())).toMatchObject({ folder: join(weights, "llama-7b") });
  });

  it("is one with a folder of its other formats inside", async () => {
    await putModel("");
    await put("original/consolidated.00.pth", "");
    await put("onnx/config.json", "{}");
    await put("onnx/model.onnx", "");
    expect(await choose()).toBe(weights.replace(/\/$/, ""));
  });

  it("is the one that LLAMA_WEIGHTS names, whatever lies in weights/", async () => {
    await putModel("one");
    await putModel("two");
    expect(await choose({ LLAMA_WEIGHTS: join(weights, "two") })).toBe(join(weights, "two"));
    expect(await choose({ LLAMA_WEIGHTS: join(weights, "tiny") })).toBe(join(weights, "tiny"));
  });

  it("is never read with another model's tokenizer", async () => {
    await putModel("", modelFiles);
    expect(await refusal()).toMatchObject({
      code: "TOKENIZER_NOT_FOUND",
      message: expect.stringContaining(`${weights} and `),
    });
  });
});

describe("weights/ that leaves a doubt", () => {
  it.each([
    ["one", "two", "one, two"],
    ["", "two", "the folder itself, two"],
  ])("is refused with a list of the models: %j and %j", async (first, second, list) => {
    await putModel(first);
    await putModel(second);
    expect(await refusal()).toMatchObject({
      code: "CHECKPOINT_AMBIGUOUS",
      message: `${weights}: holds several models: ${list}`,
      hint: expect.stringContaining("LLAMA_WEIGHTS"),
    });
  });

  it.each([
    ["llama.Q4_K_M.gguf", "CHECKPOINT_CORRUPT", "is truncated"],
    ["7B/consolidated.00.pth", "CHECKPOINT_UNSUPPORTED", "Meta's original format"],
    ["llama-7b/pytorch_model-00001-of-00033.bin", "CHECKPOINT_NOT_FOUND", "-of-00033.bin, but no config.json"],
    ["llama/model.pt", "CHECKPOINT_NOT_FOUND", "has model.pt, but no config.json"],
    ["llama-7b.tar.gz", "CHECKPOINT_UNSUPPORTED", "is an archive"],
    ["llama/model.safetensors.part", "CHECKPOINT_UNSUPPORTED", "download that has not finished"],
    ["mine/adapter_config.json", "CHECKPOINT_UNSUPPORTED", "LoRA adapter"],
    ["llama/model.safetensors", "CHECKPOINT_NOT_FOUND", "has model.safetensors, but no config.json"],
    ["llama/tokenizer.json", "CHECKPOINT_NOT_FOUND", "neither config.json nor weights"],
    ["tokenizer.model", "CHECKPOINT_NOT_FOUND", "neither config.json nor weights"],
  ])("is refused with what is wrong with it, not passed over for the embedded model: %s", async (file, code, what) => {
    await put(file, "");
    const error = await refusal();
    expect(error).toMatchObject({ code, message: expect.stringContaining(what), hint: expect.any(String) });
  });

  it("is refused with a list where one of two models is in Meta's or PyTorch's format", async () => {
    await putModel("hf");
    await put("7B/params.json", "{}");
    await put("7B/consolidated.00.pth", "");
    expect(await refusal()).toMatchObject({ message: `${weights}: holds several models: 7B, hf` });
    await rm(join(weights, "7B"), { recursive: true });
    await put("torch/config.json", "{}");
    await put("torch/pytorch_model.bin", "");
    expect(await refusal()).toMatchObject({ message: `${weights}: holds several models: hf, torch` });
    await rm(join(weights, "hf"), { recursive: true });
    await putModel("");
    expect(await refusal()).toMatchObject({ message: `${weights}: holds several models: the folder itself, torch` });
  });

  it("is refused where config.json has no weights beside it", async () => {
    await putModel("llama", ["config.json", "tokenizer.model"]);
    expect(await refusal()).toMatchObject({
      code: "CHECKPOINT_NOT_FOUND",
      message: expect.stringContaining("holds neither model.safetensors nor"),
    });
  });

  it("is refused where nothing at all is in it, or it is gone", async () => {
    await rm(join(weights, "tiny"), { recursive: true });
    expect(await refusal()).toMatchObject({ code: "CHECKPOINT_NOT_FOUND", message: `${weights}: holds no model` });
    await rename(weights, `${weights}-moved`);
    expect(await refusal()).toMatchObject({ message: `${weights}: there is no such folder` });
    await rename(`${weights}-moved`, weights);
  });
});

describe("the line about the model at a start", () => {
  it("says which it is, its size, type, context and tokenizer", async () => {
    const lines: string[] = [];
    const llama = await Llama.load({ weights: embedded, log: (line) => lines.push(line) });
    await llama.close();
    expect(lines).toEqual([
      "model: tiny (embedded), 1.9 M parameters, bf16, context 512, SentencePiece of 1,600 pieces",
    ]);
    expect(llama.name).toBe("llama-lora-cog/tiny");
  });

  it("has the published name and the folder of another, and no path", async () => {
    await putModel("mine");
    const line = describeCheckpoint(await openCheckpoint(await choose()));
    expect(line).toMatch(/^model: acme\/Llama-2-7b \(folder mine\), 1\.9 M parameters, bf16, /);
    expect(line).not.toContain(weights);
  });

  it("names a model by its size where its folder is named after a place only", async () => {
    await putModel("");
    await put(
      "config.json",
      (await readFile(join(embedded, "config.json"), "utf8")).replace("llama-lora-cog/tiny", ""),
    );
    expect(await openCheckpoint(await choose())).toMatchObject({ name: "llama-1.9m", publishedName: null });
  });
});
