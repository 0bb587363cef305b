import type { Tokenizer } from "../llama/tokenizer/tokenizer.ts";
import type { Row } from "./dataset/row.ts";

/** How LLaMA's tokenizers and ChatML spell the end of a text or of a turn. */
const published = ["</s>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|endoftext|>", "<|im_end|>"];

/** How an end may be spelled. @param endIds the model's own end-of-text ids */
export function endMarksOf(tokenizer: Tokenizer, endIds: readonly number[]): readonly string[] {
  const own = [tokenizer.eosId, ...endIds].map((id) => tokenizer.piece(id)).filter((piece) => piece !== null);
  return [...new Set([...published, ...own])].filter((mark) => mark.trim() !== "");
}

/** Rows whose answers and texts end where they say so. */
export interface UnmarkedRows {
  readonly rows: Row[];
  /** Rows in which one ended with a mark. */
  readonly marked: number;
  /** The marks found. */
  readonly marks: string[];
}

/**
 * Takes end marks off the ends of answers and texts: whoever wrote `</s>` there meant the token, which each learns anyway.
 * Inside a text a mark stays text.
 */
export function withoutEndMarks(rows: readonly Row[], known: readonly string[]): UnmarkedRows {
  const marks = new Set<string>();
  let marked = 0;
  const unmarked = rows.map((row) => {
    const changed = withAnswersChanged(row, (text) => withoutEndMark(text, known, marks));
    if (changed !== row) marked++;
    return changed;
  });
  return { rows: unmarked, marked, marks: [...marks] };
}

/** The row with its answers, or its text, changed; the row itself where none has. */
function withAnswersChanged(row: Row, change: (text: string) => string): Row {
  if ("text" in row) {
    const text = change(row.text);
    return text === row.text ? row : { ...row, text };
  }
  if ("instruction" in row) {
    const output = change(row.output);
    return output === row.output ? row : { ...row, output };
  }
  const turns = row.turns.map((turn) => {
    const content = turn.role === "assistant" ? change(turn.content) : turn.content;
    return content === turn.content ? turn : { ...turn, content };
  });
  return turns.every((turn, i) => turn === row.turns[i]) ? row : { ...row, turns };
}

function withoutEndMark(output: string, known: readonly string[], found: Set<string>): string {
  let left = output;
  for (;;) {
    const text = left.trimEnd();
    const mark = known.find((each) => text.endsWith(each));
    if (mark === undefined) return left;
    found.add(mark);
    left = text.slice(0, -mark.length);
  }
}
