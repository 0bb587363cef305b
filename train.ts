// Fine-tunes a LoRA adapter on an instruction data set: cog train -i dataset=@data.json
import { defineTrainer, Input, Output, Path } from "llama-lora-cog/cog";
import { chooseCheckpoint, openCheckpoint } from "./src/llama/checkpoint/index.ts";
import { Llama, templateNames } from "./src/llama/index.ts";
import {
  type AdapterModule,
  AdapterOutput,
  baseWithoutWeights,
  checkpointsFolder,
  datasetFormats,
  dryRun,
  factsOf,
  mostSamples,
  openCheckpoints,
  ownSettings,
  readDataset,
  readRanks,
  refusedNames,
  runMetrics,
  schedules,
  targetModules,
  trainLora,
} from "./src/training/index.ts";

export default defineTrainer({
  // alpaca-lora's names and defaults. What a request gives is honoured or refused; defaults meant for 50,000 rows adapt to
  // fewer, and the log says so.
  inputs: {
    dataset: Input.path({
      description:
        "Rows as JSON, JSONL, CSV or TSV; also .gz, .tar, .tar.gz, .zip or a folder of such files, which are read in the order of their names",
      aliases: ["data_path", "train_data"],
    }),
    dataset_format: Input.string({
      description: "What the rows are. auto: each row's own fields say it, and a line of the log what was found",
      default: "auto",
      choices: datasetFormats,
    }),
    columns: Input.object({
      description: 'Columns that have other names, such as {"instruction": "question", "output": "answer"}',
    }).optional(),
    num_epochs: Input.integer({
      description: "Times every row is seen; unless given, more with few rows",
      aliases: ["num_train_epochs"],
      default: 3,
      ge: 1,
    }),
    learning_rate: Input.number({
      description: "Highest rate. Unless given, more for few rows and a narrow model",
      default: 3e-4,
      ge: 0,
      le: 1e6,
    }),
    batch_size: Input.integer({
      description: "Rows per optimiser step; unless given, fewer with few rows",
      aliases: ["train_batch_size"],
      default: 128,
      ge: 1,
    }),
    micro_batch_size: Input.integer({
      description: "Rows of full length that memory has to hold at once",
      default: 4,
      ge: 1,
    }),
    cutoff_len: Input.integer({ description: "Longer rows are cut, in tokens", default: 256, ge: 2 }),
    val_set_size: Input.integer({
      description: "Rows kept back to choose the best adapter by, 0 is none; unless given, at most a tenth",
      default: 2000,
      ge: 0,
      aliases: ["num_validation_samples"],
    }),
    validation_data: Input.path({
      description: "Rows to choose the best adapter by, in a file of their own; val_set_size is how many of them",
    }).optional(),
    adapter: Input.path({
      description: "An adapter to start from, with its rank, alpha and target modules: an archive or a PEFT file",
    }).optional(),
    lora_r: Input.integer({ description: "Rank of the adapter", default: 8, ge: 1, le: 4096, aliases: ["lora_rank"] }),
    lora_alpha: Input.number({ description: "The adapter is scaled by lora_alpha / lora_r", default: 16, ge: 0 }),
    use_rslora: Input.boolean({ description: "Scale by lora_alpha / sqrt(lora_r), for high ranks", default: false }),
    lora_dropout: Input.number({
      description: "Share of the adapter's inputs that is dropped",
      default: 0.05,
      ge: 0,
      le: 0.99,
    }),
    lora_target_modules: Input.list(Input.string({ choices: targetModules }), {
      description: "Linear layers that get an adapter; all-linear is all of them",
      default: ["q_proj", "v_proj"],
      acceptsOne: true,
    }),
    rank_pattern: Input.object({
      description: 'Ranks of some modules, as PEFT has it: {"o_proj": 4, "layers.0.self_attn.q_proj": 16}',
    }).optional(),
    alpha_pattern: Input.object({ description: "The same for lora_alpha" }).optional(),
    train_on_inputs: Input.boolean({ description: "Learn the prompts too, not the outputs alone", default: true }),
    add_eos_token: Input.boolean({
      description: "Changes nothing, as in alpaca-lora: a row that is not cut always learns to stop",
      default: false,
    }),
    prompt_template_name: Input.string({
      description: "How a row is worded, and kept with the adapter. auto: the model's chat template, else alpaca",
      default: "auto",
      choices: templateNames,
    }),
    prompt_template: Input.path({ description: "A template file of alpaca-lora, instead of a name" }).optional(),
    seed: Input.integer({
      description: "The same seed, data and device give the same adapter",
      default: 42,
      ge: 0,
      le: Number.MAX_SAFE_INTEGER,
    }),
    lr_scheduler_type: Input.string({
      description: "How the learning rate falls after the warm-up; constant warms up only where that is asked for",
      default: "linear",
      choices: schedules,
    }),
    warmup_steps: Input.integer({
      description: "Steps in which the learning rate rises from zero; unless given, at most a tenth",
      default: 100,
      ge: 0,
    }),
    warmup_ratio: Input.number({ description: "The same as a share of the steps", ge: 0, le: 1 }).optional(),
    weight_decay: Input.number({ description: "Of AdamW", default: 0, ge: 0 }),
    max_grad_norm: Input.number({ description: "Longer gradients are shortened to this; 0 is off", default: 1, ge: 0 }),
    eval_steps: Input.integer({
      description: "Steps from one evaluation to the next; unless given, every epoch's end is evaluated too",
      default: 200,
      ge: 1,
    }),
    early_stopping_patience: Input.integer({
      description: "The run ends after this many evaluations without a better validation loss; 0 is off",
      default: 0,
      ge: 0,
    }),
    sample_prompts: Input.list(Input.string(), {
      description:
        "Instructions that the adapter answers before the first step, at every evaluation and after the last",
      acceptsOne: true,
      maxItems: mostSamples,
      aliases: ["validation_prompt"],
    }).optional(),
    sample_tokens: Input.integer({ description: "Tokens of such an answer, at most", default: 64, ge: 1, le: 4096 }),
    dry_run: Input.boolean({
      description: "Stop after the report on the data set, and show two examples token by token",
      default: false,
    }),
    // What other trainers call for, in words of their own.
    gradient_accumulation_steps: Input.integer({
      description: "batch_size is micro_batch_size times this",
      ge: 1,
      deprecated: true,
    }).optional(),
    run_validation: Input.boolean({ description: "false is val_set_size 0", deprecated: true }).optional(),
    group_by_length: Input.boolean({
      description: "Has no meaning here: rows are packed, so that none is padded",
      default: false,
      deprecated: true,
    }),
    save_steps: Input.integer({
      description:
        "Steps between two checkpoints; unless given (or 0), one at each evaluation. Stopping a run leaves one too",
      ge: 0,
    }).optional(),
    save_total_limit: Input.integer({ description: "Checkpoints of a run that are kept", default: 3, ge: 1 }),
    resume_from_checkpoint: Input.string({
      description:
        "Goes on from a checkpoint of the same rows and settings: last, its name, or auto (last, if there is one)",
    }).optional(),
    checkpoint: Input.path({ description: "An archive of a checkpoint to go on from, instead of a name" }).optional(),
  },
  refused: refusedNames,
  // A dry run has a report instead of weights. Of several ranks only the first one answers.
  output: Output.object({ weights: Output.path().optional(), report: Output.any().optional() }).optional(),

  async train(
    {
      dataset,
      dataset_format,
      columns,
      validation_data,
      adapter,
      add_eos_token,
      dry_run,
      save_steps,
      save_total_limit,
      resume_from_checkpoint,
      checkpoint,
      ...inputs
    },
    { given, signal, tempDir, recordMetric },
  ) {
    const ranks = readRanks();
    const log = ranks.rank === 0 ? console.log : () => {};
    const { settings, notes, ...own } = ownSettings(inputs, given);
    const readRows = async (file: Path) => {
      const read = await readDataset(file.path, { name: file.name, format: dataset_format, columns, signal });
      for (const note of read.summary.notes) log(note);
      return read.rows;
    };
    const rows = await readRows(dataset);
    const validationRows = validation_data && (await readRows(validation_data));
    const run = { rows, validationRows, adapter, settings, given: own.given, ranks, signal, log };
    if (dry_run) {
      const checkpoint = await openCheckpoint(await chooseCheckpoint());
      log(`Dry run with ${rows.length} rows of ${dataset.name}, base ${checkpoint.name}`);
      for (const note of notes) log(note);
      const report = await dryRun({ ...run, base: baseWithoutWeights(checkpoint) }, checkpoint);
      return ranks.rank === 0 ? { report } : null;
    }
    // Loaded for one training, once its rows are known to be good: what waits for the next one holds no memory.
    const base = await Llama.load({ localRank: ranks.localRank, log });
    try {
      log(`Training on ${rows.length} rows of ${dataset.name}, base ${base.name}, ${base.engine.description}`);
      if (ranks.size > 1) log(`${ranks.size} ranks share every step`);
      for (const note of notes) log(note);
      const opened = await openCheckpoints({
        ...{ base, rows, validationRows, ranks, settings, given: own.given, tempDir, signal, log },
        inputs: { save_steps, save_total_limit, resume_from_checkpoint, checkpoint },
        folder: checkpointsFolder(process.env),
        onSaved: (name) => recordMetric("resume", { resume_from_checkpoint: name, checkpoint: null }),
      });
      const output = async (modules: readonly AdapterModule[]) => {
        const facts = await factsOf({ base, rows, file: dataset.path, validationRows, adapter, ranks, signal });
        const destination = process.env.COG_OUTPUT_DIR;
        return AdapterOutput.open(tempDir, { model: base.model, modules, facts, destination, signal });
      };
      const { file } = await trainLora({
        ...run,
        base,
        ...opened,
        // Where the command draws the metrics on a terminal, its log need not say them again.
        logSteps: process.env.COG_LIVE_METRICS !== "1",
        observers: [runMetrics(recordMetric)],
        output,
      });
      return file === null ? null : { weights: new Path(file) };
    } finally {
      await base.close();
    }
  },
});
