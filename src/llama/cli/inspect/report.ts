/** Whether what was inspected can be used. */
export type State = "ok" | "empty" | "broken";

/** What `inspect` found: `--json` prints it as it is, the text has a line for each entry. */
export interface Report {
  /** "Hugging Face folder", "GGUF model", "PEFT adapter", ... */
  readonly kind: string;
  readonly path: string;
  readonly state: State;
  /** What is wrong or worth knowing, a line each. */
  readonly problems: readonly string[];
  /** Bytes of its tensors in the files. */
  readonly bytes: number;
  readonly tensors: number;
  /** Tensors by type of number. */
  readonly types: Readonly<Record<string, number>>;
  readonly model?: ModelReport;
  readonly adapter?: AdapterReport;
  readonly needs?: NeedsReport;
}

export interface ModelReport {
  readonly name: string;
  readonly architecture: string;
  readonly parameters: number;
  readonly layers: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly vocabulary: number;
  readonly context: number;
  readonly tiedHead: boolean;
  readonly tokenizer: {
    readonly kind: string;
    readonly pieces: number;
    readonly bos: number | null;
    readonly ends: readonly number[];
  } | null;
  /** Characters of the model's own chat template; null: it has none. */
  readonly chatTemplate: number | null;
}

export interface AdapterReport {
  readonly family: string;
  readonly base: string | null;
  /** Name of the prompt template it was trained with; null: nothing says. */
  readonly template: string | null;
  readonly parameters: number;
  readonly ranks: readonly number[];
  readonly modules: readonly ModuleNorms[];
}

/** All modules of one name ("q_proj"), together. Norms are Frobenius's. */
export interface ModuleNorms {
  readonly name: string;
  readonly count: number;
  readonly ranks: readonly number[];
  /** alpha / r, or as the file has it; the smallest and the largest. */
  readonly scales: readonly [number, number];
  readonly a: number;
  readonly b: number;
  /** Of scale * B A. */
  readonly product: number;
}

/** Bytes. */
export interface NeedsReport {
  /** Of one token's keys and values, 16 bits. */
  readonly cachePerToken: number;
  /** Of a conversation as long as the model's context. */
  readonly cacheOfContext: number;
  readonly byQuantization: readonly {
    readonly quantization: string;
    readonly weights: number;
    /** Weights and the cache of one whole context. */
    readonly serve: number;
    /** Weights, adapter (rank 8 on q and v), its optimiser and a micro-batch of 4 rows of 256 tokens. */
    readonly train: number;
    /** The same with activations computed again. */
    readonly trainCheckpointed: number;
  }[];
}
