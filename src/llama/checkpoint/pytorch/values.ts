/** What a pickle can hold here. Nothing of it acts: a global is a name until a handler of the allowlist gives it a meaning. */
export type Value =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Value[]
  | Tuple
  | Dict
  | Global
  | Storage
  | PickledTensor
  | Ignored;

export class Tuple {
  readonly items: readonly Value[];

  constructor(items: readonly Value[]) {
    this.items = items;
  }
}

/** Keys and values in turn, in the order of writing; dict, OrderedDict and set (whose values are null). */
export class Dict {
  readonly flat: Value[] = [];

  set(key: Value, value: Value): void {
    this.flat.push(key, value);
  }

  *entries(): Generator<[key: Value, value: Value]> {
    for (let i = 0; i < this.flat.length; i += 2) yield [this.flat[i]!, this.flat[i + 1]!];
  }
}

/** A class or function of Python by name: one of the allowlist. */
export class Global {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

/** A tensor's memory, which lies elsewhere in the file. */
export class Storage {
  readonly key: string;
  readonly dtype: string | null;
  /** Elements of dtype, or bytes where it is null (an untyped storage). */
  readonly count: number;

  constructor(key: string, dtype: string | null, count: number) {
    this.key = key;
    this.dtype = dtype;
    this.count = count;
  }
}

/** A view of a storage: sizes, strides and offset in elements of dtype, as the file gives them. */
export class PickledTensor {
  readonly storage: Storage;
  readonly dtype: string;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(storage: Storage, dtype: string, offset: number, shape: readonly number[], strides: readonly number[]) {
    this.storage = storage;
    this.dtype = dtype;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }
}

/** Something known that is of no use for weights: torch.device("cuda:0"). */
export class Ignored {}
