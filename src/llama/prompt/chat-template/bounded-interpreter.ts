import { type Environment, Interpreter, type Statement, type Value } from "@huggingface/jinja";
import { pythonStrip } from "./python-text.ts";

export interface Limits {
  /** Nodes of the template that are evaluated. */
  readonly steps: number;
  /** Of a text, and of the whole output. */
  readonly characters: number;
  /** Of a list. */
  readonly items: number;
  /** Of the processor: a busy machine makes no template slower. */
  readonly milliseconds: number;
}

/** The shape of the nodes that are evaluated here. */
interface Node {
  readonly type: string;
  readonly operand: Statement;
  readonly filter: { readonly type: string; readonly value?: string } & Partial<Pick<Node, "args">> & {
      readonly callee?: { readonly value?: string };
    };
  readonly callee: { readonly type: string; readonly computed?: boolean; readonly object: Statement } & {
    readonly property?: { readonly value?: string };
  };
  readonly args: readonly Statement[];
}

/** Milliseconds that this process has computed. */
function processorTime(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Jinja within limits, with Python's `strip` and Jinja's tests of absent attributes, which the library has otherwise. */
export class BoundedInterpreter extends Interpreter {
  readonly #limits: Limits;
  readonly #end: number;
  #steps = 0;

  constructor(scope: Environment, limits: Limits) {
    super(scope);
    this.#limits = limits;
    this.#end = processorTime() + limits.milliseconds;
  }

  /** @throws Error where the template does more than it may, and what the library throws */
  override evaluate(statement: Statement | undefined, scope: Environment): Value {
    const { steps, characters, items, milliseconds } = this.#limits;
    if (++this.#steps > steps) throw new Error(`takes more than ${steps} steps`);
    // Looking at the clock at every step would double their cost.
    if (this.#steps % 64 === 0 && processorTime() > this.#end) {
      throw new Error(`takes more than ${milliseconds} ms`);
    }
    const node = statement as Node | undefined;
    const result = this.#stripped(node, scope) ?? this.#withAttribute(node, scope) ?? super.evaluate(statement, scope);
    const value: unknown = result.value;
    if (typeof value === "string" && value.length > characters) {
      throw new Error(`makes a text of more than ${characters} characters`);
    }
    if (Array.isArray(value) && value.length > items) throw new Error(`makes a list of more than ${items} items`);
    return result;
  }

  /** The value of `text | trim`, `text.strip(...)`, `text.lstrip(...)` and `text.rstrip(...)`; null for all else. */
  #stripped(node: Node | undefined, scope: Environment): Value | null {
    if (node?.type === "FilterExpression" && node.filter.type === "Identifier" && node.filter.value === "trim") {
      return this.#strip(node.operand, "strip", [], scope);
    }
    const { type, computed, object, property } = node?.type === "CallExpression" ? node.callee : ({} as Node["callee"]);
    if (type !== "MemberExpression" || computed || !/^[lr]?strip$/.test(property?.value ?? "")) return null;
    return this.#strip(object, property!.value!, node!.args, scope);
  }

  #strip(of: Statement, method: string, args: readonly Statement[], scope: Environment): Value | null {
    const text = this.evaluate(of, scope);
    if (typeof text.value !== "string") return null;
    const characters = args[0] === undefined ? undefined : this.evaluate(args[0], scope).value;
    if (args.length > 1 || (characters !== undefined && typeof characters !== "string" && characters !== null)) {
      throw new Error(`${method}() takes one text`);
    }
    const Text = text.constructor as new (value: string) => Value;
    return new Text(pythonStrip(text.value, method, characters ?? undefined));
  }

  /** The value of `list | selectattr(name, "defined")` and its three kin; null for all else. */
  #withAttribute(node: Node | undefined, scope: Environment): Value | null {
    if (node?.type !== "FilterExpression" || node.filter.type !== "CallExpression") return null;
    const { callee, args = [] } = node.filter;
    const [name, test] = args.map((arg) => (arg as { value?: unknown }).value);
    if (!/^(select|reject)attr$/.test(callee?.value ?? "") || (test !== "defined" && test !== "undefined")) return null;
    const list = this.evaluate(node.operand, scope);
    if (!Array.isArray(list.value)) return null;
    const wanted = (callee!.value === "selectattr") === (test === "defined");
    const has = (item: Value): boolean => item.value instanceof Map && item.value.has(name);
    const List = list.constructor as new (items: Value[]) => Value;
    return new List(list.value.filter((item: Value) => has(item) === wanted));
  }
}
