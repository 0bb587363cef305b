import { RE2JS } from "re2js";
import { CodedError } from "../../errors/index.ts";

/** Characters of all expressions of a config, and instructions of what they are compiled to. */
const mostCharacters = 4000;
const mostInstructions = 10_000;

type Test = (path: string) => boolean;

/**
 * The regular expressions that a config of PEFT names modules by. They come from outside: RE2 takes time that is linear
 * in the path (https://swtch.com/~rsc/regexp/regexp3.html), and what they may hold together is limited.
 */
export class ModulePatterns {
  readonly #file: string;
  #characters = 0;
  #instructions = 0;

  /** @param file the config's name in messages */
  constructor(file: string) {
    this.#file = file;
  }

  /**
   * A test of whether the expression matches a whole path.
   * @throws ADAPTER_CONFIG for an expression that is not valid, and for more of them than is allowed
   */
  wholePath(field: string, expression: string): Test {
    this.#characters += expression.length;
    if (this.#characters > mostCharacters) {
      throw this.#refusal(field, `regular expressions have more than ${mostCharacters} characters together`);
    }
    let compiled: RE2JS;
    try {
      compiled = RE2JS.compile(expression);
    } catch (cause) {
      const reason = (cause as Error).message;
      throw this.#refusal(field, `a regular expression for modules cannot be used: ${reason}`, cause);
    }
    this.#instructions += compiled.programSize();
    if (this.#instructions > mostInstructions) {
      throw this.#refusal(field, `regular expressions take more than ${mostInstructions} steps together`);
    }
    return (path) => compiled.matches(path);
  }

  /** The same for the end of a path, from the beginning of one of its parts. */
  endOfPath(field: string, expression: string): Test {
    return this.wholePath(field, `(?:.*\\.)?(?:${expression})`);
  }

  #refusal(field: string, what: string, cause?: unknown): CodedError {
    return new CodedError("ADAPTER_CONFIG", `${this.#file}: ${field}: ${what.slice(0, 300)}`, {
      hint: "List the modules by name. Expressions are those of RE2, without looking around and without back references.",
      cause,
    });
  }
}
