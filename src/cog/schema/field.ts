import type { Path, Secret } from "./values.ts";

export type FieldKind =
  | "string"
  | "integer"
  | "number"
  | "boolean"
  | "path"
  | "secret"
  | "list"
  | "union"
  | "object"
  | "any";

/** What a field was declared with; read by the schema, the defaults and the conversion to author's values. */
export interface FieldSpec {
  readonly kind: FieldKind;
  readonly options: Readonly<Record<string, unknown>>;
  readonly optional: boolean;
  /** Of a list. */
  readonly element?: FieldSpec;
  /** Of a union. */
  readonly variants?: readonly FieldSpec[];
}

declare const valueType: unique symbol;
declare const completeness: unique symbol;

/**
 * One declared input. `T` is what `predict` receives; `Complete` is false for `default: null` until `.optional()` is
 * called, which is what makes a null default on a required field a type error.
 */
export class Field<out T, out Complete extends boolean = true> {
  declare readonly [valueType]: T;
  declare readonly [completeness]: Complete;
  readonly spec: FieldSpec;

  constructor(spec: FieldSpec) {
    this.spec = spec;
  }

  /** Makes the value `T | null`: absent is null. */
  optional(): Field<T | null> {
    return new Field({ ...this.spec, optional: true });
  }
}

export interface CommonOptions {
  description?: string;
  deprecated?: boolean;
  /** Other names under which a request may give it, such as those of another trainer. */
  aliases?: readonly string[];
}

export interface StringOptions<C, D> extends CommonOptions {
  default?: D;
  /** Unicode code points. */
  minLength?: number;
  /** Unicode code points. */
  maxLength?: number;
  /** Unanchored, ECMA-style. */
  regex?: string;
  choices?: readonly C[];
}

export interface NumberOptions<C, D> extends CommonOptions {
  default?: D;
  ge?: number;
  le?: number;
  choices?: readonly C[];
}

export interface PlainOptions<D> extends CommonOptions {
  default?: D;
}

export interface PathOptions<D> extends CommonOptions {
  default?: D;
  /** Media type hint for user interfaces, as in HTML: "audio/*". */
  accept?: string;
}

export interface ListOptions<D> extends PlainOptions<D> {
  maxItems?: number;
  /** A value that is no list counts as a list of one: for an input that used to be single. */
  acceptsOne?: boolean;
}

/** A field whose default is null is not complete before `.optional()`. */
type Declared<T, D> = Field<T, [D] extends [null] ? false : true>;

type AnyField = Field<unknown>;
type ValueOf<F> = F extends Field<infer T> ? T : never;

function declare(
  kind: FieldKind,
  options: object = {},
  parts: Pick<FieldSpec, "element" | "variants"> = {},
): FieldSpec {
  return { kind, options: options as Record<string, unknown>, optional: false, ...parts };
}

/** The inputs a predictor can declare. Invalid combinations stop the start, with the input's name. */
export const Input = {
  string<const C extends string = string, const D extends C | null = C>(options?: StringOptions<C, D>): Declared<C, D> {
    return new Field(declare("string", options));
  },
  integer<const C extends number = number, const D extends C | null = C>(
    options?: NumberOptions<C, D>,
  ): Declared<C, D> {
    return new Field(declare("integer", options));
  },
  number<const C extends number = number, const D extends C | null = C>(options?: NumberOptions<C, D>): Declared<C, D> {
    return new Field(declare("number", options));
  },
  boolean<D extends boolean | null = boolean>(options?: PlainOptions<D>): Declared<boolean, D> {
    return new Field(declare("boolean", options));
  },
  path<D extends string | null = string>(options?: PathOptions<D>): Declared<Path, D> {
    return new Field(declare("path", options));
  },
  secret<D extends string | null = string>(options?: PlainOptions<D>): Declared<Secret, D> {
    return new Field(declare("secret", options));
  },
  list<T, D extends readonly unknown[] | null = readonly unknown[]>(
    element: Field<T>,
    options?: ListOptions<D>,
  ): Declared<T[], D> {
    return new Field(declare("list", options, { element: element.spec }));
  },
  union<const F extends readonly AnyField[], D = unknown>(
    variants: F,
    options?: PlainOptions<D>,
  ): Declared<ValueOf<F[number]>, D> {
    return new Field(declare("union", options, { variants: variants.map((variant) => variant.spec) }));
  },
  object<D extends Record<string, unknown> | null = Record<string, unknown>>(
    options?: PlainOptions<D>,
  ): Declared<Record<string, unknown>, D> {
    return new Field(declare("object", options));
  },
  any<D = unknown>(options?: PlainOptions<D>): Declared<unknown, D> {
    return new Field(declare("any", options));
  },
};

export type Inputs = Readonly<Record<string, AnyField>>;

/** The argument of `predict` that a declaration gives. */
export type InputValues<I extends Inputs> = { [K in keyof I]: ValueOf<I[K]> };
