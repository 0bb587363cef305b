import { CodedError, isCodedError } from "../../errors/index.ts";
import {
  answerParts,
  type Conversation,
  conversationOf,
  type Message,
  type Part,
  type PromptTemplate,
} from "../../llama/prompt/index.ts";
import { sliced } from "../../llama/time-slices.ts";
import type { TokenizerInput } from "../../llama/tokenizer/tokenizer-input.ts";
import { describeSource, type Row } from "../dataset/row.ts";

/** A row in the words that are encoded. */
export type WordedRow = WordedAnswers | WordedText;

export interface WordedAnswers {
  /** In order, the last one among them where no text is missing. */
  readonly answers: readonly WordedAnswer[];
  /** Answers that are not among them: they begin beyond the cutoff. */
  readonly beyond: number;
  /** Whether text is missing, which no context holds. */
  readonly isCut: boolean;
}

/** A text as it stands. */
export interface WordedText {
  readonly text: string;
}

export interface WordedAnswer {
  /** What the model is given for it, without BOS. */
  readonly prompt: TokenizerInput;
  /** Up to the token that ends it. */
  readonly answer: readonly Part[];
}

export interface WordingOptions {
  readonly template: PromptTemplate;
  /** Tokens per example. */
  readonly cutoff: number;
  /** The model's. */
  readonly context: number;
  readonly signal?: AbortSignal | undefined;
}

/** No vocabulary has a piece this long, so no token within the context depends on text further behind. */
const longestPiece = 160;
/** What a template words at once: its process is given so many seconds for it. */
const conversationsAtOnce = 64;
const charactersAtOnce = 2 ** 20;

interface Asked {
  readonly conversation: Conversation;
  readonly answer: string;
}

/**
 * The rows' texts as the template words them, in their order: of a conversation each answer behind the prompt that the
 * model is asked with at that turn.
 * @throws PROMPT_MESSAGES naming a row that the template has no words for, PROMPT_TEMPLATE_INVALID, the signal's reason
 */
export async function wordRows(rows: readonly Row[], options: WordingOptions): Promise<WordedRow[]> {
  const asked = rows.map((row) => ("text" in row ? null : askedOf(row, options)));
  const prompts = await rendered(rows, asked, options);
  let next = 0;
  return rows.map((row, index) => {
    const parts = asked[index];
    if ("text" in row || !parts) return { text: (row as { text: string }).text.slice(0, charactersOf(options)) };
    const answers = parts.answers.map(({ answer }) => {
      return { prompt: prompts[next++]!, answer: answerParts(options.template, answer) };
    });
    return { answers, beyond: parts.beyond, isCut: parts.isCut };
  });
}

/** The prompts of all answers, one after another. */
async function rendered(
  rows: readonly Row[],
  asked: readonly ({ readonly answers: readonly Asked[] } | null)[],
  { template, signal }: WordingOptions,
): Promise<TokenizerInput[]> {
  const prompts: TokenizerInput[] = [];
  let batch: { readonly row: Row; readonly conversation: Conversation }[] = [];
  let characters = 0;
  const pause = sliced(signal);
  const flush = async () => {
    prompts.push(...(await renderBatch(batch, template, signal)));
    batch = [];
    characters = 0;
    await pause();
  };
  for (const [index, parts] of asked.entries()) {
    for (const { conversation } of parts?.answers ?? []) {
      batch.push({ row: rows[index]!, conversation });
      for (const { content } of conversation.turns) characters += content.length;
      if (batch.length >= conversationsAtOnce || characters >= charactersAtOnce) await flush();
    }
  }
  if (batch.length > 0) await flush();
  return prompts;
}

async function renderBatch(
  batch: readonly { readonly row: Row; readonly conversation: Conversation }[],
  template: PromptTemplate,
  signal: AbortSignal | undefined,
): Promise<TokenizerInput[]> {
  const conversations = batch.map(({ conversation }) => conversation);
  try {
    return await template.render(conversations, signal);
  } catch (error) {
    if (!isCodedError(error)) throw error;
  }
  // One of them is refused, or all together take too long: each alone tells which.
  const prompts: TokenizerInput[] = [];
  for (const { row, conversation } of batch) {
    try {
      prompts.push(...(await template.render([conversation], signal)));
    } catch (error) {
      if (!isCodedError(error)) throw error;
      const { code, message, hint } = error;
      throw new CodedError(code, `${describeSource(row.source)}: ${message}`, { hint, cause: error });
    }
  }
  return prompts;
}

/** UTF-16 units of a row that are worded. */
function charactersOf({ cutoff, context }: WordingOptions): number {
  return Math.max(cutoff, context) * longestPiece;
}

/** The answers of a row and what they answer, as far as they may fit. */
function askedOf(row: Exclude<Row, { text: string }>, options: WordingOptions) {
  const characters = charactersOf(options);
  if ("instruction" in row) {
    const [prompt, input] = [row.instruction.slice(0, characters), row.input.slice(0, characters)];
    const conversation = conversationOf({ prompt, input });
    return { answers: [{ conversation, answer: row.output.slice(0, characters) }], beyond: 0, isCut: false };
  }
  const { cutoff, context } = options;
  const turns = beginningOf(row.turns, Math.max(cutoff, context) + 1, characters);
  const places = answerPlaces(turns);
  // A turn takes a token at least. The last answer says how long the whole is.
  const worded = places.filter((place) => place <= cutoff || place === places.at(-1));
  const answers = worded.map((place) => ({
    conversation: { system: row.system?.slice(0, characters) ?? null, turns: turns.slice(0, place), input: "" },
    answer: turns[place]!.content,
  }));
  const isCut = turns.length < row.turns.length;
  return { answers, beyond: answerPlaces(row.turns).length - answers.length, isCut };
}

/** Where the answers are. What an assistant says before anybody has asked is a beginning to go on from, not an answer. */
function answerPlaces(turns: readonly Message[]): number[] {
  const first = turns.findIndex(({ role }) => role === "user");
  return turns.flatMap(({ role }, place) => (role === "assistant" && first >= 0 && place > first ? [place] : []));
}

function beginningOf(turns: readonly Message[], mostTurns: number, characters: number): Message[] {
  const kept: Message[] = [];
  let left = characters;
  for (const turn of turns.slice(0, mostTurns)) {
    if (left <= 0) break;
    const content = turn.content.slice(0, left);
    kept.push({ ...turn, content });
    left -= content.length;
  }
  return kept;
}
