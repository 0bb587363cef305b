import { createHash } from "node:crypto";
import type { Row } from "../dataset/row.ts";

/** The texts that a row was given with, without the template's words. */
export function textsOf(row: Row): string[] {
  if ("text" in row) return [row.text];
  if ("instruction" in row) return [row.instruction, row.input, row.output];
  return [...(row.system === null ? [] : [row.system]), ...row.turns.map(({ content }) => content)];
}

/** The answers of a row; a text is one. */
export function answersOf(row: Row): string[] {
  if ("text" in row) return [row.text];
  if ("instruction" in row) return [row.output];
  return row.turns.filter(({ role }) => role === "assistant").map(({ content }) => content);
}

/** The same for rows of the same kind with the same texts. */
export function rowDigest(row: Row): string {
  const kind =
    "text" in row ? ["text"] : "instruction" in row ? ["instruction"] : ["", ...row.turns.map(({ role }) => role)];
  // Lengths keep texts apart.
  const hash = createHash("sha1").update(JSON.stringify(kind));
  for (const text of textsOf(row)) hash.update(`${text.length} `).update(text);
  return hash.digest("base64");
}
