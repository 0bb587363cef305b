import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { tarball } from "../../test/llama/tarball.ts";
import type { Attack, Target } from "./attack.ts";

const mebi = 2 ** 20;
const config = JSON.parse(readFileSync(join(import.meta.dirname, "../../weights/tiny/config.json"), "utf8")) as {
  hidden_size: number;
};

/** An adapter of the tiny model for one matrix. `header` is that of its weights; zeros follow it. */
function adapter(peft: object, rank = 8): Parts {
  const [a, b] = [rank * config.hidden_size, config.hidden_size * rank].map((count) => count * 4);
  const name = "base_model.model.model.layers.0.self_attn.q_proj.lora_";
  const header = JSON.stringify({
    [`${name}A.weight`]: { dtype: "F32", shape: [rank, config.hidden_size], data_offsets: [0, a] },
    [`${name}B.weight`]: { dtype: "F32", shape: [config.hidden_size, rank], data_offsets: [a, a! + b!] },
  });
  const fields = {
    peft_type: "LORA",
    task_type: "CAUSAL_LM",
    r: rank,
    lora_alpha: 8,
    target_modules: ["q_proj"],
    // What it has tensors for: it fits the model, so that each attack gets as far as it can.
    layers_to_transform: [0],
    ...peft,
  };
  return { config: JSON.stringify(fields), header, zeros: a! + b! };
}

interface Parts {
  readonly config: string;
  readonly header: string;
  readonly zeros: number;
}

/** A .tar.gz, made in pieces: zeros by the gigabyte take no time and no memory here. */
function archive(parts: Parts, more: readonly { path: string; zeros: number }[] = []): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(parts.header.length));
  const start = Buffer.concat([length, Buffer.from(parts.header)]);
  return Buffer.concat([
    gzipSync(tarball([{ path: "adapter_config.json", body: parts.config }]).subarray(0, -1024)),
    ...member("adapter_model.safetensors", start, parts.zeros),
    ...more.flatMap(({ path, zeros }) => member(path, Buffer.alloc(0), zeros)),
    gzipSync(Buffer.alloc(1024)),
  ]);
}

const block = gzipSync(Buffer.alloc(16 * mebi));

function member(path: string, start: Buffer, zeros: number): Buffer[] {
  const size = start.length + zeros;
  const padded = zeros + ((512 - (size % 512)) % 512);
  const header = tarball([{ path, size }]).subarray(0, 512);
  const blocks = new Array<Buffer>(Math.floor(padded / (16 * mebi))).fill(block);
  return [gzipSync(Buffer.concat([header, start])), ...blocks, gzipSync(Buffer.alloc(padded % (16 * mebi)))];
}

function upload(target: Target, bytes: Buffer): Promise<void> {
  return target.input({
    prompt: "Hello",
    max_new_tokens: 4,
    adapter: `data:application/gzip;base64,${bytes.toString("base64")}`,
  });
}

function withAdapter(name: string, make: () => Buffer, { seconds = 30, times = 1 } = {}): Attack {
  return {
    name: `adapter: ${name}`,
    seconds,
    async run(target) {
      const bytes = make();
      await Promise.all(Array.from({ length: times }, () => upload(target, bytes)));
    },
  };
}

/** Long paths of folders, each of one letter, with a file at the end. */
function deepFolders(count: number, depth: number): Buffer {
  const entries = Array.from({ length: count }, (_, i) => [
    { path: "././@LongLink", type: "L", body: `${i}/${"a/".repeat(depth)}f\0` },
    { path: "f", body: "" },
  ]);
  return gzipSync(tarball(entries.flat()));
}

/** Requests to the model itself: what its prompts, stops and adapters cost. */
export const llama: readonly Attack[] = [
  {
    name: "one stop of 50 MB",
    run: (target) => target.input({ prompt: "Hello", max_new_tokens: 8, stop: ["x".repeat(50 * mebi)] }),
  },
  {
    name: "one stop of 15 MB",
    run: (target) => target.input({ prompt: "Hello", max_new_tokens: 8, stop: ["x".repeat(15 * mebi)] }),
  },
  {
    name: "100,000 stops",
    run: (target) =>
      target.input({
        prompt: "Hello",
        max_new_tokens: 8,
        stop: Array.from({ length: 100_000 }, (_, i) => `stop ${i}`),
      }),
  },
  withAdapter("plain", () => archive(adapter({}))),
  withAdapter("catastrophic regular expression", () => archive(adapter({ target_modules: "(.*)*(.*)*(.*)*(.*)*!" }))),
  withAdapter("20,000 rank_pattern keys", () =>
    archive(adapter({ rank_pattern: Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`(a|b)*${i}`, 8])) })),
  ),
  withAdapter("deep JSON", () => {
    const parts = adapter({});
    const deep = `${"[".repeat(200_000)}${"]".repeat(200_000)}`;
    return archive({ ...parts, config: parts.config.replace("{", `{"target_modules":${deep},`) });
  }),
  withAdapter("95 MB header in 93 KB", () =>
    archive({ ...adapter({}), header: `{"a":[${"{},".repeat(31 * mebi)}{}]}`, zeros: 0 }),
  ),
  withAdapter("rank 1,500,000", () => archive(adapter({}, 1_500_000))),
  withAdapter("3 GB that nobody needs in 2.9 MB", () =>
    archive(adapter({}), [{ path: "optimizer.pt", zeros: 3000 * mebi }]),
  ),
  withAdapter("twenty paths of 1,900 folders, 16 at once", () => deepFolders(20, 1900), { times: 16 }),
];
