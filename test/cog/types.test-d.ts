// Checked by `tsc --noEmit`: what an author declares is what `predict` receives. Nothing here runs.
import { definePredictor, defineTrainer, Input, Output, Path, type Secret } from "llama-lora-cog/cog";

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function is<A, B>(_proof: Equal<A, B>): void {}

definePredictor({
  inputs: {
    prompt: Input.string({ description: "text" }),
    count: Input.integer({ default: 256, ge: 1, le: 4096 }),
    template: Input.string({ default: "alpaca", choices: ["alpaca", "none"] }),
    steps: Input.integer({ choices: [3, 4] }),
    stop: Input.list(Input.string()).optional(),
    adapter: Input.path({ description: "archive" }).optional(),
    seed: Input.integer({ default: null }).optional(),
    key: Input.secret(),
    flag: Input.boolean({ default: false }),
    value: Input.union([Input.string(), Input.number()]),
    options: Input.object(),
    anything: Input.any(),
  },
  output: Output.concatenateIterator(),
  async setup({ weights }) {
    is<typeof weights, string | undefined>(true);
    return { name: "model" };
  },
  async *predict(input, { model, given, signal, context }) {
    is<typeof input.prompt, string>(true);
    is<typeof input.count, number>(true);
    is<typeof input.template, "alpaca" | "none">(true);
    is<typeof input.steps, 3 | 4>(true);
    is<typeof input.stop, string[] | null>(true);
    is<typeof input.adapter, Path | null>(true);
    is<typeof input.seed, number | null>(true);
    is<typeof input.key, Secret>(true);
    is<typeof input.flag, boolean>(true);
    is<typeof input.value, string | number>(true);
    is<typeof input.options, Record<string, unknown>>(true);
    is<typeof input.anything, unknown>(true);
    is<typeof model, { name: string }>(true);
    is<typeof given, ReadonlySet<string>>(true);
    is<typeof signal, AbortSignal>(true);
    is<typeof context, Readonly<Record<string, string>>>(true);
    yield "text";
  },
  healthcheck: (model) => model.name === "model",
});

defineTrainer({
  inputs: { dataset: Input.path() },
  output: Output.object({ weights: Output.path(), note: Output.string().optional() }),
  train({ dataset }, { model }) {
    is<typeof dataset, Path>(true);
    is<typeof model, undefined>(true);
    return { weights: new Path("w") };
  },
});

definePredictor({
  inputs: {
    // @ts-expect-error a null default needs .optional()
    a: Input.string({ default: null }),
    // @ts-expect-error the default must be one of the choices
    b: Input.string({ default: "c", choices: ["a", "b"] }),
    // @ts-expect-error a default of another type
    c: Input.integer({ default: "5" }),
    // @ts-expect-error an option that does not exist
    d: Input.string({ maximum: 5 }),
    // @ts-expect-error not a field
    e: "string",
  },
  output: Output.string(),
  predict: () => "x",
});

definePredictor({
  inputs: {},
  output: Output.integer(),
  // @ts-expect-error the result is not what the output declares
  predict: () => "x",
});

definePredictor({
  inputs: {},
  output: Output.list(Output.object({ path: Output.path() })),
  // @ts-expect-error a path is no text
  predict: async () => [{ path: "file" }],
});

definePredictor({ inputs: {}, output: Output.string().optional(), predict: () => null });
definePredictor({ inputs: {}, output: Output.string().optional(), predict() {} });

definePredictor({
  inputs: {},
  output: Output.iterator(Output.integer()),
  // @ts-expect-error yields another type
  *predict() {
    yield "x";
  },
});

// @ts-expect-error predict is missing
definePredictor({ inputs: {}, output: Output.string() });
