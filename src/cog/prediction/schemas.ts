import type { OpenApiDocument } from "../schema/openapi.ts";
import { InputSchema } from "./input-schema.ts";
import type { Family } from "./run-options.ts";

/** What the published document says of each family of runs. */
export class Schemas {
  readonly document: OpenApiDocument;
  /** May predictions be streamed? */
  readonly streams: boolean;
  readonly #inputs: Readonly<Record<Family, InputSchema | null>>;
  readonly #isTrainOnly: boolean;

  /** `isTrainOnly`: /predictions answers with the trainer. */
  constructor(document: OpenApiDocument, isTrainOnly: boolean) {
    const { TrainingInput, Input } = document.components!.schemas!;
    const trainings = TrainingInput ? new InputSchema(document, "TrainingInput") : null;
    const post = document.paths["/predictions"]?.post as Record<string, unknown> | undefined;
    this.document = document;
    this.streams = post?.["x-cog-streaming"] === true;
    this.#isTrainOnly = isTrainOnly;
    // A project that only trains answers /predictions with its trainer.
    this.#inputs = { predictions: Input ? new InputSchema(document, "Input") : trainings, trainings };
  }

  input(family: Family): InputSchema | null {
    return this.#inputs[family];
  }

  isArrayOutput(family: Family): boolean {
    const component = family === "trainings" || this.#isTrainOnly ? "TrainingOutput" : "Output";
    const output = this.document.components!.schemas![component] as { type?: string } | undefined;
    return output?.type === "array";
  }
}
