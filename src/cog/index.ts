/** What a model author imports: `import { definePredictor, Input, Output } from "llama-lora-cog/cog"`. */
export { currentContext, type MetricMode, type MetricValue, type PredictionContext } from "./schema/context.ts";
export { Field, Input, type Inputs, type InputValues } from "./schema/field.ts";
export { type AnyOutput, Output, OutputType } from "./schema/output.ts";
export {
  definePredictor,
  defineTrainer,
  type Predictor,
  type PredictorDefinition,
  type TrainerDefinition,
} from "./schema/predictor.ts";
export { Path, Secret, UserError } from "./schema/values.ts";
