import type { AdapterModule } from "../../engine/engine.ts";
import type { TemplateRecord } from "../prompt/record.ts";
import type { PeftConfig } from "./peft-config.ts";
import type { WholeChanges } from "./whole-changes.ts";

/** An adapter in memory, float32, checked against the model it is for: pairs on the linears of its layers. */
export interface Adapter {
  /** Of a file that is no PEFT folder: what PEFT would say of it. */
  readonly config: PeftConfig;
  readonly modules: readonly AdapterModule[];
  /** The prompt template that it was trained with; null where nothing says so. */
  readonly promptTemplate: TemplateRecord | null;
  readonly warnings: readonly string[];
}

/** An adapter as its files have it. */
export interface FullAdapter extends Adapter {
  /** Weights in it lie in the adapter's files. */
  readonly whole: WholeChanges;
  /** Where it lies; a tokenizer may lie beside it. null of a single file. */
  readonly folder: string | null;
}
