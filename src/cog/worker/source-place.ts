/** A place in an author's file. */
export interface SourcePlace {
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 0, in UTF-16 units. */
  readonly column: number;
  /** The line itself. */
  readonly text: string;
}

const longestLine = 100;

/** `predict.ts:5:3: Expected "}"`, and below it the line with a caret under the place. */
export function messageAt({ file, line, column, text }: SourcePlace, message: string): string {
  const number = String(line);
  // A long line is shown around the place.
  const start = Math.max(0, Math.min(column - longestLine / 2, text.length - longestLine));
  const shown = text
    .slice(start, start + longestLine)
    .replaceAll("\t", " ")
    .trimEnd();
  const caret = `${" ".repeat(column - start)}^`;
  return `${file}:${number}:${column + 1}: ${message}\n\n  ${number} | ${shown}\n  ${" ".repeat(number.length)} | ${caret}`;
}
