import type { PredictionContext } from "./context.ts";
import { checkDeclaration } from "./declaration.ts";
import type { Inputs, InputValues } from "./field.ts";
import { type AnyOutput, isIterator, type OutputSpec, type ResultOf } from "./output.ts";

interface Definition<I extends Inputs, O extends AnyOutput, M> {
  inputs: I;
  output: O;
  /** Names that are no inputs here but were elsewhere, each with what to use instead: a request that gives one is refused. */
  refused?: Readonly<Record<string, string>>;
  /** Runs once, before the first prediction; what it returns (or resolves to) is `context.model`. */
  setup?(options: { weights: string | undefined }): M | Promise<M>;
  /** May a client ask for an event stream. Default: true for iterator outputs. */
  streaming?: boolean;
  /** Slots: runs at the same time. Default 1; COG_MAX_CONCURRENCY wins. */
  concurrency?: number;
  /** false, a throw, or more than 5 s is unhealthy. */
  healthcheck?(model: M): unknown;
  /** Runs at shutdown. */
  teardown?(model: M): unknown;
}

type Result<O> = ResultOf<O> | Promise<ResultOf<O>>;

export interface PredictorDefinition<I extends Inputs, O extends AnyOutput, M> extends Definition<I, O, M> {
  predict(input: InputValues<I>, context: PredictionContext<M>): Result<O>;
}

export interface TrainerDefinition<I extends Inputs, O extends AnyOutput, M>
  extends Omit<Definition<I, O, M>, "streaming" | "concurrency"> {
  train(input: InputValues<I>, context: PredictionContext<M>): Result<O>;
}

/** A checked declaration, as the worker runs it; the author's types end here. */
export interface Predictor {
  readonly role: "predictor" | "trainer";
  readonly inputs: Inputs;
  readonly refused?: Readonly<Record<string, string>> | undefined;
  readonly output: OutputSpec;
  readonly streaming: boolean;
  readonly concurrency: number;
  setup(options: { weights: string | undefined }): unknown;
  run(input: Record<string, unknown>, context: PredictionContext): unknown;
  readonly healthcheck: ((model: unknown) => unknown) | null;
  readonly teardown: ((model: unknown) => unknown) | null;
}

/** Marks declarations, so that one made by another copy of this module is recognised too. */
const brand = Symbol.for("llama-lora-cog.Predictor");

export function isPredictor(value: unknown): value is Predictor {
  return typeof value === "object" && value !== null && brand in value;
}

/**
 * Declares a predictor: inputs and output once, from which the types, the published schema and the checks follow.
 * @throws CodedError PREDICTOR_INVALID naming the field that is declared in a way that is not possible
 */
export function definePredictor<const I extends Inputs, O extends AnyOutput, M = undefined>(
  definition: PredictorDefinition<I, O, M>,
): Predictor {
  checkDeclaration(definition, "predict");
  return declared("predictor", definition, definition.predict as Run);
}

/** Declares a trainer: the same with `train`, always one at a time. */
export function defineTrainer<const I extends Inputs, O extends AnyOutput, M = undefined>(
  definition: TrainerDefinition<I, O, M>,
): Predictor {
  checkDeclaration(definition, "train");
  return declared("trainer", definition, definition.train as Run);
}

type Run = Predictor["run"];

function declared<I extends Inputs, O extends AnyOutput, M>(
  role: Predictor["role"],
  definition: Definition<I, O, M>,
  run: Run,
): Predictor {
  const output = definition.output.spec;
  const predictor: Predictor = {
    role,
    inputs: definition.inputs,
    refused: definition.refused,
    output,
    streaming: definition.streaming ?? isIterator(output),
    concurrency: definition.concurrency ?? 1,
    // Called as methods of the definition, so that `this` is what an author expects.
    setup: (options) => definition.setup?.(options),
    run: (input, context) => run.call(definition, input, context),
    healthcheck: definition.healthcheck ? (model) => definition.healthcheck?.(model as M) : null,
    teardown: definition.teardown ? (model) => definition.teardown?.(model as M) : null,
  };
  return Object.freeze(Object.defineProperty(predictor, brand, { value: true }));
}
