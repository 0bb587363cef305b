import { extensionFor } from "../../media-types.ts";

/** A file that came in an answer: its bytes and the extension (with dot, or empty) for its media type. */
export interface AnsweredFile {
  bytes: Buffer;
  extension: string;
}

/** Reads `data:<media type>[;base64],<data>`; undefined for every other text. */
export function parseDataUrl(text: unknown): AnsweredFile | undefined {
  if (typeof text !== "string" || !text.startsWith("data:")) return undefined;
  const comma = text.indexOf(",");
  if (comma < 0) return undefined;
  const header = text.slice(5, comma);
  const data = text.slice(comma + 1);
  const base64 = /;\s*base64\s*$/i.test(header);
  const bytes = base64 ? Buffer.from(data, "base64") : Buffer.from(percentDecoded(data), "latin1");
  return { bytes, extension: extensionFor(header || "text/plain") };
}

function percentDecoded(data: string): string {
  return Buffer.from(data, "utf8")
    .toString("latin1")
    .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}
