import { renderPrompt } from "../llama/prompt/index.ts";
import { sliced } from "../llama/time-slices.ts";
import type { Tokenizer } from "../llama/tokenizer/tokenizer.ts";
import type { Row, RowSource } from "./dataset/index.ts";
import type { TrainingSettings } from "./settings.ts";

/** A row as the model sees it. */
export interface Example {
  /** BOS, prompt, output, and EOS where it fits. */
  readonly tokens: Int32Array;
  /** The first this many tokens are not learnt. */
  readonly masked: number;
  /** Positions that predict a learnt token: what the loss is averaged over. */
  readonly targets: number;
  readonly source: RowSource;
}

export interface EncodingOptions extends Pick<TrainingSettings, "train_on_inputs" | "prompt_template_name"> {
  /** Tokens per example. */
  readonly cutoff: number;
  readonly signal?: AbortSignal | undefined;
}

/** No vocabulary has a piece this long, so no token within the cutoff depends on text further behind. */
const longestPiece = 160;

/**
 * alpaca-lora's tokenisation: BOS + encode(prompt + output), cut at the cutoff; EOS is appended exactly where that
 * leaves room and it is not there already, so that a row that was cut does not learn to stop.
 *
 * Prompt and output are encoded together, as when the model is asked. Without train_on_inputs the tokens that are the
 * same in the prompt encoded alone are masked: a token that straddles the border is learnt.
 */
export async function encodeExamples(
  rows: readonly Row[],
  tokenizer: Tokenizer,
  options: EncodingOptions,
): Promise<Example[]> {
  const examples: Example[] = [];
  const pause = sliced(options.signal);
  for (const row of rows) {
    examples.push(encodeExample(row, tokenizer, options));
    await pause();
  }
  return examples;
}

export function encodeExample(row: Row, tokenizer: Tokenizer, options: Omit<EncodingOptions, "signal">): Example {
  const { cutoff } = options;
  const enough = (text: string): string => text.slice(0, cutoff * longestPiece);
  const prompt = renderPrompt(options.prompt_template_name, row.instruction, row.input);
  const text = [tokenizer.bosId, ...tokenizer.encode(enough(prompt + row.output)).subarray(0, cutoff - 1)];
  if (text.length < cutoff && text.at(-1) !== tokenizer.eosId) text.push(tokenizer.eosId);
  const tokens = Int32Array.from(text);

  let masked = 0;
  if (!options.train_on_inputs) {
    const alone = tokenizer.encode(enough(prompt));
    masked = 1;
    while (masked < tokens.length && masked <= alone.length && tokens[masked] === alone[masked - 1]) masked++;
  }
  // The first token is never predicted.
  const targets = tokens.length - Math.max(1, masked);
  return { tokens, masked, targets, source: row.source };
}
