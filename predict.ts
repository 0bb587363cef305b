// Answers instructions with LLaMA and, where one is given, a LoRA adapter: cog predict -i prompt="..."
import { definePredictor, Input, Output } from "llama-lora-cog/cog";
import { Llama, mostAdapters, samplingLimits, stopLimits, templateNames } from "./src/llama/index.ts";

export default definePredictor({
  inputs: {
    prompt: Input.string({
      description: "The instruction, or the text to continue where prompt_template_name is none",
    }).optional(),
    input: Input.string({ description: "Context for the instruction", default: "" }),
    messages: Input.list(Input.object(), {
      description:
        'A conversation instead of prompt: [{"role": "user", "content": "..."}], roles system, user, assistant',
    }).optional(),
    system_prompt: Input.string({ description: "How to answer, where the template has a place for it" }).optional(),
    prompt_template_name: Input.string({
      description:
        "How the prompt is worded. auto: as the adapter was trained, else the model's chat template, else alpaca; " +
        "chat: the model's; none passes the prompt as it stands, special tokens included",
      default: "auto",
      choices: templateNames,
    }),
    prompt_template: Input.path({ description: "A template file of alpaca-lora, instead of a name" }).optional(),
    max_new_tokens: Input.integer({
      description: "Upper limit of the answer's length, in tokens",
      default: 256,
      ge: 1,
    }),
    temperature: Input.number({
      description: "Above 1 is more random, 0 is greedy",
      default: 0.7,
      ...samplingLimits.temperature,
    }),
    top_p: Input.number({
      description: "Draw from the most likely tokens of this total probability",
      default: 1,
      ...samplingLimits.topP,
    }),
    top_k: Input.integer({
      description: "Draw from this many most likely tokens; 0 is all",
      default: 0,
      ...samplingLimits.topK,
    }),
    repetition_penalty: Input.number({
      description: "Above 1 avoids what was said already; 1 is off",
      default: 1,
      ...samplingLimits.repetitionPenalty,
    }),
    stop: Input.list(Input.string({ maxLength: stopLimits.characters }), {
      description: "Texts that end the answer",
      maxItems: stopLimits.texts,
    }).optional(),
    seed: Input.integer({
      description: "The same seed gives the same text; random when absent",
      ...samplingLimits.seed,
    }).optional(),
    adapter: Input.list(Input.path(), {
      description:
        "A trained adapter (adapter.tar.gz, or another of docs/adapters.md), instead of the one in COG_WEIGHTS; or several, " +
        "whose weighted sum is used",
      maxItems: mostAdapters,
      acceptsOne: true,
    }).optional(),
    adapter_scale: Input.list(Input.number(), {
      description: "A weight for each adapter; 1 by default",
      maxItems: mostAdapters,
      acceptsOne: true,
    }).optional(),
  },
  output: Output.concatenateIterator(),
  concurrency: 16,

  async setup({ weights }) {
    const model = await Llama.load({ adapter: weights });
    console.log(`prompt template: ${await model.defaultTemplate()}; a request's adapter is asked as it was trained`);
    return model;
  },

  async *predict(inputs, { model, signal, recordMetric }) {
    const { prompt, input, messages, system_prompt, prompt_template_name, prompt_template, ...options } = inputs;
    const question = { prompt, input, messages, system_prompt, prompt_template_name, prompt_template };
    const generation = model.generate(question, { ...options, signal, log: console.log });
    if (options.seed === null) console.log(`seed ${generation.seed}`);
    for await (const piece of generation) yield piece.text;
    recordMetric("output_tokens", generation.generatedTokens);
    recordMetric("tokens_per_second", generation.tokensPerSecond);
  },

  teardown: (model) => model.close(),
});
