/** JSON with objects as maps, so that no key is special. */
export type UniqueKeyJson = null | boolean | number | string | UniqueKeyJson[] | Map<string, UniqueKeyJson>;

const deepest = 64;

/**
 * Parses JSON (RFC 8259) as JSON.parse does, but keeps every key apart from JavaScript's own ("__proto__") and refuses
 * what JSON.parse hides: a name given twice in one object, and integers that a double cannot hold.
 * Throws SyntaxError saying what is wrong and where.
 */
export function parseUniqueKeyJson(text: string): UniqueKeyJson {
  const scanner = new Scanner(text);
  const value = scanner.value(0);
  scanner.end();
  return value;
}

class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): UniqueKeyJson {
    if (depth > deepest) this.#fail(`nested deeper than ${deepest}`);
    this.#space();
    switch (this.#text[this.#at]) {
      case "{":
        return this.#object(depth);
      case "[":
        return this.#array(depth);
      case '"':
        return this.#string();
      case "t":
        return this.#word("true", true);
      case "f":
        return this.#word("false", false);
      case "n":
        return this.#word("null", null);
      default:
        return this.#number();
    }
  }

  end(): void {
    this.#space();
    if (this.#at < this.#text.length) this.#fail("more text after the end");
  }

  #object(depth: number): Map<string, UniqueKeyJson> {
    const members = new Map<string, UniqueKeyJson>();
    this.#at++;
    if (this.#takes("}")) return members;
    do {
      this.#space();
      if (this.#text[this.#at] !== '"') this.#fail("a name was expected");
      const name = this.#string();
      if (members.has(name)) this.#fail(`${JSON.stringify(name)} is given twice`);
      if (!this.#takes(":")) this.#fail('":" was expected');
      members.set(name, this.value(depth + 1));
    } while (this.#takes(","));
    if (!this.#takes("}")) this.#fail('"," or "}" was expected');
    return members;
  }

  #array(depth: number): UniqueKeyJson[] {
    const items: UniqueKeyJson[] = [];
    this.#at++;
    if (this.#takes("]")) return items;
    do items.push(this.value(depth + 1));
    while (this.#takes(","));
    if (!this.#takes("]")) this.#fail('"," or "]" was expected');
    return items;
  }

  #string(): string {
    const start = this.#at;
    let end = start + 1;
    for (; this.#text[end] !== '"'; end++) {
      if (end >= this.#text.length) this.#fail("a string has no end");
      if (this.#text[end] === "\\") end++;
    }
    this.#at = end + 1;
    try {
      return JSON.parse(this.#text.slice(start, this.#at));
    } catch {
      this.#at = start;
      return this.#fail("a string is not valid");
    }
  }

  #number(): number {
    const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
    number.lastIndex = this.#at;
    const digits = number.exec(this.#text)?.[0];
    if (digits === undefined) return this.#fail("a value was expected");
    const value = Number(digits);
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) this.#fail(`${digits} is too large`);
    if (!Number.isFinite(value)) this.#fail(`${digits} is too large`);
    this.#at += digits.length;
    return value;
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) this.#fail("a value was expected");
    this.#at += word.length;
    return value;
  }

  #takes(mark: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== mark) return false;
    this.#at++;
    return true;
  }

  #space(): void {
    while (" \t\n\r".includes(this.#text[this.#at] ?? "x")) this.#at++;
  }

  #fail(what: string): never {
    throw new SyntaxError(`${what} (at character ${this.#at})`);
  }
}
