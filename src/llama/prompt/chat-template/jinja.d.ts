// The package's own types import files without their extensions, which Node's resolution does not find.
declare module "@huggingface/jinja" {
  /** A node of a parsed template. */
  export interface Statement {
    readonly type: string;
  }
  /** A value of a template: its kind is its class. */
  export interface Value {
    readonly value: unknown;
  }
  export interface Token {
    readonly value: string;
  }
  export class Environment {
    /** Declares a variable; values are converted, functions are given plain values. */
    set(name: string, value: unknown): Value;
  }
  export class Interpreter {
    constructor(scope?: Environment);
    run(program: Statement): Value;
    evaluate(statement: Statement | undefined, scope: Environment): Value;
  }
  export function tokenize(source: string, options?: { trim_blocks?: boolean; lstrip_blocks?: boolean }): Token[];
  export function parse(tokens: Token[]): Statement;
}
