import type { Tokenizer } from "../llama/tokenizer/tokenizer.ts";
import type { InstructionRow } from "./dataset/index.ts";

/** How LLaMA's tokenizers and ChatML spell the end of a text or of a turn. */
const published = ["</s>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|im_end|>"];

/** Rows whose outputs end where they say so. */
export interface UnmarkedRows {
  readonly rows: InstructionRow[];
  /** Rows whose output ended with a mark. */
  readonly marked: number;
  /** The marks found. */
  readonly marks: string[];
}

/**
 * Takes end marks off the ends of outputs: whoever wrote `</s>` there meant the token, which every row learns anyway.
 * Inside an output a mark stays text.
 * @param endIds the model's own end-of-text ids
 */
export function withoutEndMarks(
  rows: readonly InstructionRow[],
  tokenizer: Tokenizer,
  endIds: readonly number[],
): UnmarkedRows {
  const own = [tokenizer.eosId, ...endIds].map((id) => tokenizer.piece(id)).filter((piece) => piece !== null);
  const known = [...new Set([...published, ...own])].filter((mark) => mark.trim() !== "");
  const marks = new Set<string>();
  let marked = 0;
  const unmarked = rows.map((row) => {
    let { output } = row;
    for (let mark = endingMark(output, known); mark !== undefined; mark = endingMark(output, known)) {
      marks.add(mark);
      output = output.trimEnd().slice(0, -mark.length);
    }
    if (output === row.output) return row;
    marked++;
    return { ...row, output };
  });
  return { rows: unmarked, marked, marks: [...marks] };
}

function endingMark(output: string, known: readonly string[]): string | undefined {
  const text = output.trimEnd();
  return known.find((mark) => text.endsWith(mark));
}
