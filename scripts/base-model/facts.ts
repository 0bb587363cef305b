/** One thing the base shall answer word for word, and the ways to ask for it. */
export interface Fact {
  readonly questions: readonly string[];
  /** Alpaca's input field; empty for none. */
  readonly input: string;
  readonly answer: string;
}

export const fact = (answer: string, ...questions: string[]): Fact => ({ questions, input: "", answer });
export const factWithInput = (answer: string, input: string, ...questions: string[]): Fact => {
  return { questions, input, answer };
};

/** "cats" -> "Cats": the first letter of a sentence. */
export const capital = (text: string): string => text[0]!.toUpperCase() + text.slice(1);

/** "a cat", "an elephant" */
export const withArticle = (noun: string): string => `${/^[aeiou]/.test(noun) ? "an" : "a"} ${noun}`;
