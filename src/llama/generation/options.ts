import type { Question } from "../prompt/index.ts";

/** A file: its path, or an object that has one (a predictor's Path). */
export type FileLike = string | { readonly path: string; readonly name?: string };

/** Where a file lies and how messages name it. */
export function placeOf(file: FileLike): { readonly path: string; readonly name?: string | undefined } {
  return typeof file === "string" ? { path: file } : { path: file.path, name: file.name };
}

/** How to continue a prompt, under the names that predict.ts publishes. */
export interface GenerateOptions {
  /** 256 by default; the model's context may end the answer before. */
  readonly max_new_tokens?: number;
  /** 0 is greedy. 1 by default. */
  readonly temperature?: number;
  /** 1, the default, is off. */
  readonly top_p?: number;
  /** 0, the default, is off. */
  readonly top_k?: number;
  /** 1, the default, is off. */
  readonly repetition_penalty?: number;
  /** Texts that end the answer and are not part of it. */
  readonly stop?: readonly string[] | null;
  /** The same seed gives the same text. Random when absent; the generation says which it was. */
  readonly seed?: number | null;
  /**
   * Instead of the adapter that the model was loaded with: an archive, a PEFT folder or a file that is an adapter by itself; or
   * several, whose weighted sum is used.
   */
  readonly adapter?: FileLike | readonly FileLike[] | null;
  /** A weight for each of the adapters; 1 by default. */
  readonly adapter_scale?: readonly number[] | null;
  readonly signal?: AbortSignal;
  /** Where the line about a template goes that was chosen by `auto`; nowhere by default. */
  readonly log?: (line: string) => void;
}

/** What is asked, and how it is worded. */
export interface TemplatedQuestion extends Question {
  /** One of templateNames; `auto`, the default, is what the adapter was trained with, else the model's, else alpaca. */
  readonly prompt_template_name?: string;
  /** A file with a template instead. */
  readonly prompt_template?: FileLike | null;
}
