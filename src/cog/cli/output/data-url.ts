import { extensionFor } from "../../media-types.ts";

/** A file that came with an answer. */
export interface AnsweredFile {
  /** Its bytes, or where they lie. */
  content: Buffer | { readonly path: string };
  /** For its media type: with its dot, or empty. */
  extension: string;
}

/** What a text of an answer stands for; undefined: nothing but itself. */
export type ReadAnswered = (text: unknown) => AnsweredFile | undefined;

/** Reads `data:<media type>[;base64],<data>`; undefined for every other text. */
export function parseDataUrl(text: unknown): AnsweredFile | undefined {
  if (typeof text !== "string" || !text.startsWith("data:")) return undefined;
  const comma = text.indexOf(",");
  if (comma < 0) return undefined;
  const header = text.slice(5, comma);
  const data = text.slice(comma + 1);
  const base64 = /;\s*base64\s*$/i.test(header);
  const content = base64 ? Buffer.from(data, "base64") : Buffer.from(percentDecoded(data), "latin1");
  return { content, extension: extensionFor(header || "text/plain") };
}

function percentDecoded(data: string): string {
  return Buffer.from(data, "utf8")
    .toString("latin1")
    .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
