import type { JsonSchema } from "./json-schema.ts";

/** Marks of our own: other names of an input, and names that are no inputs, each with what to give instead. */
export const [aliasesMark, refusedMark] = ["x-aliases", "x-refused"] as const;

/** The names that a published schema of inputs knows. It may come from a foreign server. */
export class InputNames {
  /** By the other name. */
  readonly #inputs = new Map<string, string>();
  readonly #refused: ReadonlyMap<string, string>;

  constructor(properties: Iterable<readonly [string, object]>, refused: unknown) {
    const own = new Map(properties);
    for (const [name, schema] of own) {
      const aliases = (schema as JsonSchema)[aliasesMark];
      for (const alias of Array.isArray(aliases) ? aliases : []) if (!own.has(alias)) this.#inputs.set(alias, name);
    }
    const reasons = Object.entries(typeof refused === "object" && refused !== null ? refused : {});
    this.#refused = new Map(reasons.filter(([name, why]) => !own.has(name) && typeof why === "string"));
  }

  /** The input that a name means; the name itself where it is no other name. */
  inputOf(name: string): string {
    return this.#inputs.get(name) ?? name;
  }

  /** What is wrong with a name among others, as the rest of a sentence about it; undefined where nothing is. */
  problemWith(name: string, has: (name: string) => boolean): string | undefined {
    const input = this.#inputs.get(name);
    // Most are inputs by their own name.
    if (input === undefined) return this.#refused.get(name);
    const other = [input, ...this.othersOf(input)].find((each) => each !== name && has(each));
    return other === undefined ? this.#refused.get(name) : `means ${input}, and ${other} is given too`;
  }

  othersOf(input: string): string[] {
    return [...this.#inputs].filter(([, name]) => name === input).map(([alias]) => alias);
  }
}
