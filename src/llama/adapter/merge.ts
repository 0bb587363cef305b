import { type LlamaConfig, linearPath, linearShape } from "../../engine/config.ts";
import type { AdapterModule, ModelWeights, TensorSource } from "../../engine/engine.ts";
import { CodedError } from "../../errors/index.ts";
import type { FullAdapter } from "./adapter.ts";
import { embedding, head } from "./tensor-name.ts";
import type { WeightChange, WeightChanges } from "./weight-change.ts";
import { featuresOf, type WholeChanges } from "./whole-changes.ts";

/** An adapter to merge. */
export interface MergedAdapter extends Pick<FullAdapter, "modules"> {
  /** None where it is left out. */
  readonly whole?: WholeChanges;
  readonly tiesWeights?: boolean;
  /** In messages. */
  readonly name: string;
  /** Beside the scale that its pairs have (alpha / r, or alpha / sqrt(r)). */
  readonly factor: number;
}

/** A model with adapters in it: where its weights lie before they are changed, and what is changed. */
export interface AdaptedWeights {
  readonly weights: ModelWeights;
  /** Of those that are replaced too, if only by nothing. */
  readonly changes: WeightChanges;
}

/**
 * The base's weights with those of the adapters instead, and what is added to them. The shape is another where the adapters
 * bring a larger vocabulary, or part a head from the embedding that it was one with.
 * @throws ADAPTER_UNSUPPORTED for adapters that do not go together or cannot be scaled, ADAPTER_MISMATCH for vocabularies of
 *   two sizes
 */
export function adaptWeights(base: ModelWeights, adapters: readonly MergedAdapter[]): AdaptedWeights {
  const changes = new Map<string, WeightChange>();
  const change = (name: string, more: Partial<WeightChange>) => {
    const { terms = [], magnitude = null, addition = null, tokens = null } = changes.get(name) ?? {};
    changes.set(name, { name, terms, magnitude, addition, tokens, ...more });
  };
  const replaced = new Map<string, TensorSource>();
  for (const { modules, whole, name, factor, tiesWeights } of adapters) {
    for (const { weight, ...term } of [...linearTerms(modules, base.config), ...outerTerms(whole)]) {
      change(weight, { terms: [...(changes.get(weight)?.terms ?? []), { ...term, scale: term.scale * factor }] });
    }
    if (whole === undefined) continue;
    const isWhole = whole.magnitudes.size + whole.replaced.size + whole.tokens.size > 0;
    if (isWhole && factor !== 1)
      refuse(name, `has ${featuresOf(whole).join(", ")}, which cannot be scaled (${factor})`);
    if (tiesWeights && base.config.tiedHead && touchesOuter(whole)) {
      refuse(name, "ensure_weight_tying with an embedding or head of its own is not supported");
    }
    for (const [path, magnitude] of whole.magnitudes) change(`${path}.weight`, { magnitude });
    for (const [path, bias] of whole.biases) {
      const before = changes.get(`${path}.bias`)?.addition;
      change(`${path}.bias`, { addition: bias.map((value, i) => factor * value + (before?.[i] ?? 0)) });
    }
    for (const [weight, tokens] of whole.tokens) {
      if (changes.get(weight)?.tokens) refuse(name, `has tokens of ${weight}, as another of the adapters has`);
      change(weight, { tokens });
    }
    for (const [weight, source] of whole.replaced) {
      if (replaced.has(weight)) refuse(name, `has a ${weight} of its own, as another of the adapters has`);
      replaced.set(weight, source);
      change(weight, {});
    }
  }
  refuseShared(adapters, base.config);
  for (const { whole, name } of adapters) {
    for (const weight of whole?.tokens.keys() ?? []) {
      const isMore = replaced.has(weight) || changes.get(weight)!.terms.length > 0;
      if (isMore) refuse(name, `has trained tokens of ${weight}, which is changed as a whole too`);
      // Whether PEFT ties them depends on both lists.
      const isTied = base.config.tiedHead && weight === `${head}.weight`;
      if (isTied) refuse(name, `has trained tokens of ${weight}, which is one with the embedding`);
    }
  }
  return { weights: withReplaced(base, replaced, changes), changes };
}

/** Where a weight of an adapted model is in the base's files: a head that is parted from its embedding is that. */
export function inBase(name: string, base: ReadonlyMap<string, TensorSource>): TensorSource {
  return base.get(name) ?? base.get(`${embedding}.weight`)!;
}

function* linearTerms(modules: readonly AdapterModule[], model: LlamaConfig) {
  for (const { layer, linear, ...pair } of modules) {
    const [out, input] = linearShape(model, linear);
    const weight = `${linearPath(layer, linear)}.weight`;
    const { a, b, rank, scale } = pair;
    if (a.length !== rank * input || b.length !== out * rank) {
      throw new RangeError(`${weight}: A of ${a.length} and B of ${b.length} numbers for [${out}, ${input}]`);
    }
    yield { weight, a, b, rank, scale };
  }
}

function outerTerms(whole: WholeChanges | undefined) {
  return (whole?.outer ?? []).map(({ path, ...term }) => ({ weight: `${path}.weight`, ...term }));
}

function touchesOuter({ outer, replaced }: WholeChanges): boolean {
  return outer.length > 0 || replaced.has(`${embedding}.weight`) || replaced.has(`${head}.weight`);
}

/** DoRA sets the length of rows: what is added beside it would be in it or not, by the order. */
function refuseShared(adapters: readonly MergedAdapter[], model: LlamaConfig): void {
  const users = new Map<string, number>();
  for (const { modules, whole } of adapters) {
    for (const { weight } of [...linearTerms(modules, model), ...outerTerms(whole)]) {
      users.set(weight, (users.get(weight) ?? 0) + 1);
    }
  }
  for (const { whole, name } of adapters) {
    for (const path of whole?.magnitudes.keys() ?? []) {
      if (users.get(`${path}.weight`)! > 1)
        refuse(name, `has DoRA on ${path}, which another of the adapters changes too`);
    }
  }
}

function withReplaced(
  base: ModelWeights,
  replaced: ReadonlyMap<string, TensorSource>,
  changes: WeightChanges,
): ModelWeights {
  const [embeddings, heads] = [`${embedding}.weight`, `${head}.weight`];
  const tensors = new Map(base.tensors);
  const isChanged = (name: string) => changes.has(name);
  const isTokensOnly = (name: string) => !replaced.has(name) && changes.get(name)?.terms.length === 0;
  // A tied head stays the base's embedding while the embedding is trained, and the other way round; but for single tokens.
  const tiedHead = base.config.tiedHead && !isChanged(heads) && (!isChanged(embeddings) || isTokensOnly(embeddings));
  if (base.config.tiedHead && !tiedHead) tensors.set(heads, tensors.get(embeddings)!);
  for (const [name, source] of replaced) tensors.set(name, source);
  const vocabSize = tensors.get(embeddings)!.shape[0]!;
  const rows = tiedHead ? vocabSize : tensors.get(heads)!.shape[0]!;
  if (rows !== vocabSize) {
    throw new CodedError("ADAPTER_MISMATCH", `the adapter makes ${vocabSize} embeddings and a head of ${rows} rows`, {
      hint: "Both belong into modules_to_save where the vocabulary has grown.",
    });
  }
  for (const name of [embeddings, heads]) {
    const terms = changes.get(name)?.terms ?? [];
    if (terms.every(({ b, rank }) => b.length === vocabSize * rank)) continue;
    throw new CodedError("ADAPTER_MISMATCH", `a pair on ${name} is not for ${vocabSize} rows`);
  }
  return { config: { ...base.config, vocabSize, tiedHead }, tensors };
}

function refuse(name: string, what: string): never {
  throw new CodedError("ADAPTER_UNSUPPORTED", `${name}: ${what}`, {
    hint: "Merge one adapter, then the next into the result.",
  });
}
