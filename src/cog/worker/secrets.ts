import { Needles } from "./needles.ts";
import type { RunRequest } from "./protocol.ts";
import { secretForms, shortest } from "./secret-forms.ts";

const mask = "**********";
/** What is remembered of runs that are over: a timer of theirs may still print. Lengths are of values, in UTF-16 units. */
const mostEnded = 1000;
const mostEndedLength = 256 * 1024;

interface Known {
  readonly values: readonly string[];
  /** null: nothing was searched since. */
  forms: readonly string[] | null;
}

/** The secrets of one worker process's runs, those that ended lately included, and how they are kept out of text. */
export class Secrets {
  readonly #needles = new Needles();
  readonly #running = new Map<number, Known>();
  readonly #ended: Known[] = [];
  /** Those whose forms are not made. */
  readonly #fresh = new Set<Known>();
  #endedLength = 0;

  static readonly #none = new Secrets();

  /** Those of one run alone. */
  static of(input: RunRequest["input"], names: readonly string[] = []): Secrets {
    if (names.length === 0) return Secrets.#none;
    const secrets = new Secrets();
    secrets.add({ run: 0, input, secrets: names });
    return secrets;
  }

  add({ run, input, secrets }: Pick<RunRequest, "run" | "input" | "secrets">): void {
    if (secrets.length === 0) return;
    const values = secrets.map((name) => input[name]).filter((value): value is string => typeof value === "string");
    if (values.length === 0) return;
    const known = { values, forms: null };
    this.#running.set(run, known);
    this.#fresh.add(known);
  }

  /** The run is over. */
  ended(run: number): void {
    const known = this.#running.get(run);
    if (known === undefined) return;
    this.#running.delete(run);
    this.#ended.push(known);
    this.#endedLength += lengthOf(known);
    while (this.#ended.length > mostEnded || (this.#endedLength > mostEndedLength && this.#ended.length > 1)) {
      const oldest = this.#ended.shift()!;
      this.#endedLength -= lengthOf(oldest);
      this.#fresh.delete(oldest);
      this.#needles.remove(oldest.forms ?? []);
    }
  }

  /** `text` with asterisks for secrets. `isCut`: it may end in the middle of one. */
  mask(text: string, { isCut = false } = {}): string {
    const needles = this.#known();
    if (needles.isEmpty) return text;
    const covered = needles.stretches(text, isCut ? shortest : undefined);
    let shown = "";
    let done = 0;
    for (let i = 0; i < covered.length; i += 2) {
      shown += text.slice(done, covered[i]) + mask;
      done = covered[i + 1]!;
    }
    return done === 0 ? text : shown + text.slice(done);
  }

  /** A value of JSON, its keys included. A number is masked as a whole. */
  maskValue(value: unknown): unknown {
    if (this.#known().isEmpty) return value;
    if (typeof value === "string") return this.mask(value);
    if (typeof value === "number") return this.#needles.has(`${value}`) ? mask : value;
    if (Array.isArray(value)) return value.map((item) => this.maskValue(item));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [this.mask(key), this.maskValue(item)]));
  }

  #known(): Needles {
    for (const known of this.#fresh) {
      known.forms = known.values.flatMap(secretForms);
      this.#needles.add(known.forms);
    }
    this.#fresh.clear();
    return this.#needles;
  }
}

function lengthOf({ values }: Known): number {
  return values.reduce((sum, value) => sum + value.length, 0);
}
