/** U+2581, which stands for a space inside pieces. */
export const spaceMark = "\u2581";

const innerSpaceMark = /[^\u2581]\u2581/;

/** Whether a piece has a space mark after another character: then merges reach over the beginning of a word. */
export function hasInnerSpace(piece: string): boolean {
  return innerSpaceMark.test(piece);
}

/** Whether a UTF-16 unit is a space or the mark for one: they are the same to a tokenizer. */
export function isSpace(unit: number): boolean {
  return unit === 0x20 || unit === 0x2581;
}

/** Finds spaces and their marks in a text, for rising positions; neither is searched for twice. */
export class SpaceFinder {
  readonly #text: string;
  #space = -1;
  #mark = -1;

  constructor(text: string) {
    this.#text = text;
  }

  /** Index of the first one at `from` or later; the text's length where there is none. */
  next(from: number): number {
    if (this.#space < from) this.#space = this.#find(" ", from);
    if (this.#mark < from) this.#mark = this.#find(spaceMark, from);
    return Math.min(this.#space, this.#mark);
  }

  #find(character: string, from: number): number {
    const index = this.#text.indexOf(character, from);
    return index < 0 ? this.#text.length : index;
  }
}
