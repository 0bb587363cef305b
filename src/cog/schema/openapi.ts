import type { OpenAPIV3 } from "openapi-types";
import { refusedMark } from "./input-names.ts";
import {
  choicesComponent,
  hasChoices,
  inputProperty,
  isRequired,
  type JsonSchema,
  outputSchema,
} from "./json-schema.ts";
import type { Predictor } from "./predictor.ts";

export type OpenApiDocument = OpenAPIV3.Document;

const anyJson = { "application/json": { schema: {} } };
const ok = { description: "OK", content: anyJson };

/**
 * The document that clients read and the server validates against (OpenAPI 3.0.2, the layout of Cog's own).
 * `trainOutput`: the name that cog.yaml gives to what a training writes.
 */
export function openApiDocument(
  predictor: Predictor | null,
  trainer: Predictor | null,
  trainOutput: string | null = null,
): OpenApiDocument {
  const paths: Record<string, JsonSchema> = {
    "/": { get: { summary: "Root", operationId: "root__get", responses: { 200: ok } } },
    "/health-check": {
      get: { summary: "Healthcheck", operationId: "healthcheck_health_check_get", responses: { 200: ok } },
    },
  };
  const schemas: Record<string, JsonSchema> = {};
  if (predictor !== null) addFamily(paths, schemas, predictor, prediction);
  if (trainer !== null) addFamily(paths, schemas, trainer, training);
  if (trainer !== null && trainOutput !== null)
    Object.assign(paths["/trainings"]!.post!, { "x-train-output": trainOutput });
  Object.assign(schemas, sharedSchemas);
  return {
    openapi: "3.0.2",
    info: { title: "Cog", version: "0.1.0" },
    paths,
    components: { schemas },
  } as OpenApiDocument;
}

const prediction = {
  route: "/predictions",
  parameter: "prediction_id",
  summary: "Predict",
  description: "Run one prediction",
  operation: "predict_predictions_post",
  cancelOperation: "cancel_predictions__prediction_id__cancel_post",
  prefix: "Prediction",
  input: "Input",
  output: "Output",
};
const training: typeof prediction = {
  route: "/trainings",
  parameter: "training_id",
  summary: "Train",
  description: "Run one training",
  operation: "train_trainings_post",
  cancelOperation: "cancel_trainings__training_id__cancel_post",
  prefix: "Training",
  input: "TrainingInput",
  output: "TrainingOutput",
};

function addFamily(
  paths: Record<string, JsonSchema>,
  schemas: Record<string, JsonSchema>,
  predictor: Predictor,
  names: typeof prediction,
): void {
  const rejected = { description: "Input rejected", content: json("HTTPValidationError") };
  paths[names.route] = {
    post: {
      summary: names.summary,
      description: names.description,
      operationId: names.operation,
      ...(predictor.streaming ? { "x-cog-streaming": true } : {}),
      requestBody: { content: json(`${names.prefix}Request`) },
      responses: {
        200: { description: "OK", content: json(`${names.prefix}Response`) },
        422: rejected,
      },
    },
  };
  paths[`${names.route}/{${names.parameter}}/cancel`] = {
    post: {
      summary: "Cancel",
      operationId: names.cancelOperation,
      parameters: [
        {
          required: true,
          schema: { title: `${names.prefix} Id`, type: "string" },
          name: names.parameter,
          in: "path",
        },
      ],
      responses: { 200: ok, 422: rejected },
    },
  };
  schemas[names.input] = inputSchema(predictor, names.input, schemas);
  schemas[names.output] = { ...outputSchema(predictor.output), title: "Output" };
  schemas[`${names.prefix}Request`] = requestSchema(names);
  schemas[`${names.prefix}Response`] = responseSchema(names);
}

function inputSchema(predictor: Predictor, title: string, schemas: Record<string, JsonSchema>): JsonSchema {
  const fields = Object.entries(predictor.inputs);
  const properties: Record<string, JsonSchema> = {};
  for (const [order, [name, { spec }]] of fields.entries()) {
    const component = hasChoices(spec) ? addChoices(schemas, name, choicesComponent(name, spec)) : null;
    properties[name] = inputProperty(name, spec, order, component);
  }
  const required = fields.filter(([, { spec }]) => isRequired(spec)).map(([name]) => name);
  const { refused } = predictor;
  return {
    properties,
    ...(required.length > 0 ? { required } : {}),
    title,
    type: "object",
    ...(refused === undefined ? {} : { [refusedMark]: refused }),
  };
}

/** The component's name: the parameter's, unless the predictor has other choices under the same name. */
function addChoices(schemas: Record<string, JsonSchema>, name: string, component: JsonSchema): string {
  const key = schemas[name] && JSON.stringify(schemas[name]) !== JSON.stringify(component) ? `training_${name}` : name;
  schemas[key] = component;
  return key;
}

function json(component: string): JsonSchema {
  return { "application/json": { schema: reference(component) } };
}

function reference(component: string): JsonSchema {
  return { $ref: `#/components/schemas/${component}` };
}

function requestSchema(names: typeof prediction): JsonSchema {
  return {
    title: `${names.prefix}Request`,
    type: "object",
    properties: { id: { title: "Id", type: "string" }, input: reference(names.input) },
  };
}

function responseSchema(names: typeof prediction): JsonSchema {
  const time = (title: string) => ({ title, type: "string", format: "date-time" });
  return {
    title: `${names.prefix}Response`,
    type: "object",
    properties: {
      input: reference(names.input),
      output: reference(names.output),
      id: { title: "Id", type: "string" },
      version: { title: "Version", type: "string" },
      created_at: time("Created At"),
      started_at: time("Started At"),
      completed_at: time("Completed At"),
      status: { title: "Status", type: "string" },
      error: { title: "Error", type: "string" },
      logs: { title: "Logs", type: "string" },
      metrics: { title: "Metrics", type: "object" },
    },
  };
}

const sharedSchemas: Record<string, JsonSchema> = {
  Status: {
    title: "Status",
    description: "Lifecycle states",
    enum: ["starting", "processing", "succeeded", "canceled", "failed"],
    type: "string",
  },
  HTTPValidationError: {
    title: "HTTPValidationError",
    type: "object",
    properties: { detail: { title: "Detail", type: "array", items: reference("ValidationError") } },
  },
  ValidationError: {
    title: "ValidationError",
    required: ["loc", "msg", "type"],
    type: "object",
    properties: {
      loc: { title: "Location", type: "array", items: { anyOf: [{ type: "string" }, { type: "integer" }] } },
      msg: { title: "Message", type: "string" },
      type: { title: "Error Type", type: "string" },
    },
  },
};
