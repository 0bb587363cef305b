import type { LlamaConfig } from "../../engine/config.ts";
import type { OpenedTokenizer } from "../tokenizer/open.ts";
import type { ListedIds } from "./special-ids.ts";
import type { FoundWeights } from "./weight-files.ts";

/** What a kind of checkpoint (a Hugging Face folder, a GGUF file) gives; openCheckpoint makes the same checks of each. */
export interface CheckpointSource {
  /** Absolute path of the folder that the model's files lie in. */
  readonly folder: string;
  /** Absolute path where the model is one file (the first of a split one); null for a folder. */
  readonly file: string | null;
  /** vocabSize is what the file says; the embedding tensor decides. */
  readonly config: LlamaConfig;
  readonly weights: FoundWeights;
  /** Name that the files give the model: a published name, or a path of the machine that wrote them. */
  readonly givenName: string | null;
  /** What the files list as the beginning and the ends of a text. */
  readonly listed: readonly ListedIds[];
  /** The model's chat template, in Jinja; null where there is none. */
  readonly chatTemplate: string | null;
  /** What it calls bos_token, eos_token and their like, where the files say so. */
  readonly templateTexts?: Readonly<Record<string, string>>;
  /** Called once the tensors are known to be complete, with the rows of the embedding. */
  openTokenizer(embeddings: number): Promise<OpenedTokenizer>;
}
