import { CodedError } from "../../../errors/index.ts";
import { readRegularFile } from "../../regular-file.ts";
import { configLimits as limits } from "../config-limits.ts";
import { type Fields, parseFields } from "../fields.ts";

/** Meta's description of a model; what is left out follows from the tensors. */
export interface MetaParams {
  readonly file: string;
  readonly dim: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly normEps: number;
  /** null: the tensors decide (-1 in the file). */
  readonly vocabSize: number | null;
  readonly feedForward: number | null;
  readonly ropeTheta: number | null;
  /** Factor of Llama 3.1's stretched rotary embedding; null where it is not stretched. */
  readonly ropeFactor: number | null;
  readonly slidingWindow: number | null;
}

const maxBytes = 2 ** 20;

/**
 * params.json of Meta's releases, whose fields some of them keep under "model"; with Mistral's names too.
 * Throws CHECKPOINT_NOT_FOUND, CHECKPOINT_CONFIG naming file, field and value.
 * https://github.com/meta-llama/llama-models (ModelArgs)
 */
export async function readParams(file: string): Promise<MetaParams> {
  const bytes = await readRegularFile(file, {
    missing: "CHECKPOINT_NOT_FOUND",
    corrupt: "CHECKPOINT_CONFIG",
    maxBytes,
  });
  if (bytes === null) {
    throw new CodedError("CHECKPOINT_NOT_FOUND", `${file}: no such file`, {
      hint: "Download params.json of the same model into the folder of its consolidated files",
    });
  }
  return parseParams(bytes.toString("utf8"), file);
}

export function parseParams(text: string, file: string): MetaParams {
  const outer = parseFields(text, file);
  const fields = outer.object("model") ?? outer;
  const dim = fields.count("dim", limits.width);
  const heads = fields.count("n_heads", limits.heads);
  const kvHeads = fields.count("n_kv_heads", heads, heads);
  if (heads % kvHeads !== 0) fields.refuse("n_kv_heads", `a divisor of n_heads (${heads})`);
  if (!fields.has("head_dim") && dim % heads !== 0) fields.refuse("dim", `a multiple of n_heads (${heads})`);
  const headDim = fields.count("head_dim", limits.width, dim / heads);
  if (headDim % 2 !== 0) fields.refuse(fields.has("head_dim") ? "head_dim" : "dim", "an even head size");
  return {
    ...{ file, dim, heads, kvHeads, headDim },
    layers: fields.count("n_layers", limits.layers),
    normEps: fields.positive("norm_eps"),
    vocabSize: [-1, null].includes(fields.raw("vocab_size") as null)
      ? null
      : fields.count("vocab_size", limits.vocabulary),
    feedForward: feedForward(fields, dim),
    ropeTheta: fields.has("rope_theta") ? fields.positive("rope_theta") : null,
    ropeFactor: ropeFactor(fields, dim),
    slidingWindow: fields.has("sliding_window") ? fields.count("sliding_window", limits.positions) : null,
  };
}

/** Two thirds of four times dim, times the multiplier, rounded up to a multiple; null where the file does not say. */
function feedForward(fields: Fields, dim: number): number | null {
  if (fields.has("hidden_dim")) return fields.count("hidden_dim", limits.width);
  if (!fields.has("multiple_of")) return null;
  const multiple = fields.count("multiple_of", limits.width);
  const twoThirds = Math.floor((8 * dim) / 3);
  const size = fields.has("ffn_dim_multiplier")
    ? Math.floor(fields.positive("ffn_dim_multiplier") * twoThirds)
    : twoThirds;
  const rounded = multiple * Math.ceil(size / multiple);
  const name = fields.has("ffn_dim_multiplier") ? "ffn_dim_multiplier" : "multiple_of";
  if (rounded < 1 || rounded > limits.width) fields.refuse(name, `a feed-forward size from 1 to ${limits.width}`);
  return rounded;
}

/** Files before the factor was written are of 3.1, or of 3.2 whose models are the small ones. */
function ropeFactor(fields: Fields, dim: number): number | null {
  if (!fields.flag("use_scaled_rope", false)) return null;
  return fields.positive("rope_scaling_factor", dim <= 3072 ? 32 : 8);
}
