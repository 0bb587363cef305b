import type { TensorSource } from "../../engine/engine.ts";
import { CodedError } from "../../errors/index.ts";
import { type LoadPlan, rowsOf } from "./load.ts";
import { quoted, shapedValues } from "./tensor-index.ts";
import { embedding, head } from "./tensor-name.ts";
import type { TokenRows } from "./whole-changes.ts";

/**
 * Rows of single tokens, which PEFT's trainable_token_indices puts in the place of the base's.
 * @throws ADAPTER_CONFIG for other tokens than the tensors are of, ADAPTER_MISMATCH for ids that the vocabulary does not have
 */
export async function trainedTokens(
  { index, config, model, said }: LoadPlan,
  replaced: ReadonlyMap<string, TensorSource>,
): Promise<Map<string, TokenRows>> {
  const { label } = index;
  const found = new Map<string, TokenRows>();
  for (const [path, parts] of index.modules) {
    const rows = parts.get("rows");
    if (rows === undefined) continue;
    const ids = idsOf(path, config.trainedTokens);
    if (ids === null || (path !== embedding && path !== head)) {
      throw new CodedError("ADAPTER_CONFIG", `${label}: tensor ${quoted(rows.given)}: ${said} names no tokens of it`);
    }
    const vocabulary = rowsOf(`${path}.weight`, replaced, model);
    const wrong = ids.find((id) => id >= vocabulary);
    if (wrong !== undefined) {
      throw new CodedError(
        "ADAPTER_MISMATCH",
        `${said}: trainable_token_indices: ${wrong}, the model has ${vocabulary} tokens`,
      );
    }
    const { hiddenSize } = model;
    const values = await shapedValues(rows, [ids.length, hiddenSize], label);
    const rowOf = (i: number) => values.subarray(i * hiddenSize, (i + 1) * hiddenSize);
    found.set(`${path}.weight`, new Map(ids.map((id, i) => [id, rowOf(i)])));
  }
  for (const end of config.trainedTokens.keys()) {
    const path = [embedding, head].find((each) => each.endsWith(end));
    if (path !== undefined && found.has(`${path}.weight`)) continue;
    throw new CodedError("ADAPTER_MISMATCH", `${label}: the rows of the tokens of ${quoted(end)} are missing`, {
      hint: `${said} names them in trainable_token_indices.`,
    });
  }
  return found;
}

function idsOf(path: string, tokens: LoadPlan["config"]["trainedTokens"]): readonly number[] | null {
  for (const [end, ids] of tokens) if (path.endsWith(end)) return ids;
  return null;
}
