import { createHash } from "node:crypto";
import type { LlamaConfig } from "../../engine/config.ts";
import type { AdapterModule } from "../../engine/engine.ts";
import type { Example } from "../examples.ts";
import type { TrainingSettings } from "../settings.ts";

/** What ranks must have in common to train one adapter. */
export interface Common {
  readonly training: readonly Example[];
  readonly validation: readonly Example[];
  /** As the run uses them. */
  readonly settings: TrainingSettings;
  /** The base's shape. */
  readonly config: LlamaConfig;
  readonly initial: readonly AdapterModule[];
}

/** A digest of it, 64 hexadecimal digits: ranks that were given other files or inputs are found before the first step. */
export function agreementOf({ training, validation, settings, config, initial }: Common): string {
  // A template file lies elsewhere on each machine; the examples show what was in it.
  const { prompt_template: _, ...compared } = settings;
  const hash = createHash("sha256").update(JSON.stringify([compared, config, training.length]));
  for (const { tokens, learnt } of [...training, ...validation])
    hash.update(`${tokens.length} ${learnt.length} `).update(tokens).update(learnt);
  for (const { layer, linear, scale, a, b } of initial) hash.update(`${layer} ${linear} ${scale} `).update(a).update(b);
  return hash.digest("hex");
}

/** The same with a run's checkpoints: ranks that went on from different ones, or saved at different steps, must not meet. */
export function agreementOnStart(agreement: string, checkpoints: { readonly together: unknown } | undefined): string {
  return createHash("sha256")
    .update(JSON.stringify([agreement, checkpoints?.together ?? null]))
    .digest("hex");
}
