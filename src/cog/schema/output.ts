import type { Path } from "./values.ts";

export type OutputKind =
  | "string"
  | "integer"
  | "number"
  | "boolean"
  | "path"
  | "any"
  | "list"
  | "object"
  | "iterator"
  | "concatenateIterator";

export interface OutputSpec {
  readonly kind: OutputKind;
  readonly optional: boolean;
  /** Of a list or an iterator. */
  readonly element?: OutputSpec;
  /** Of an object. */
  readonly fields?: Readonly<Record<string, OutputSpec>>;
}

declare const resultType: unique symbol;

/** A declared output; `R` is what `predict` may return. */
export class OutputType<out R> {
  declare readonly [resultType]: R;
  readonly spec: OutputSpec;

  constructor(spec: OutputSpec) {
    this.spec = spec;
  }

  /** In an object: the field may be missing or null. On the whole output: `predict` may return null. */
  // biome-ignore lint/suspicious/noConfusingVoidType: a function without a return statement returns void
  optional(): OutputType<R | null | undefined | void> {
    return new OutputType({ ...this.spec, optional: true });
  }
}

export type AnyOutput = OutputType<unknown>;
export type ResultOf<O> = O extends OutputType<infer R> ? R : never;
type ObjectOf<F> = { [K in keyof F as undefined extends ResultOf<F[K]> ? never : K]: ResultOf<F[K]> } & {
  [K in keyof F as undefined extends ResultOf<F[K]> ? K : never]?: ResultOf<F[K]>;
};

function output<R>(kind: OutputKind, parts: Pick<OutputSpec, "element" | "fields"> = {}): OutputType<R> {
  return new OutputType({ kind, optional: false, ...parts });
}

/** The outputs a predictor can declare. */
export const Output = {
  string: () => output<string>("string"),
  integer: () => output<number>("integer"),
  number: () => output<number>("number"),
  boolean: () => output<boolean>("boolean"),
  path: () => output<Path>("path"),
  any: () => output<unknown>("any"),
  list: <T>(element: OutputType<T>) => output<readonly T[]>("list", { element: element.spec }),
  object: <const F extends Readonly<Record<string, AnyOutput>>>(fields: F) =>
    output<ObjectOf<F>>("object", {
      fields: Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, field.spec])),
    }),
  /** `predict` is a generator; each yielded item is sent as it comes. */
  iterator: <T>(element: OutputType<T>) =>
    output<AsyncIterable<T> | Iterable<T>>("iterator", { element: element.spec }),
  /** Pieces of one text, shown joined. */
  concatenateIterator: () =>
    output<AsyncIterable<string> | Iterable<string>>("concatenateIterator", {
      element: { kind: "string", optional: false },
    }),
};

export function isIterator(spec: OutputSpec): boolean {
  return spec.kind === "iterator" || spec.kind === "concatenateIterator";
}
