import { CodedError } from "../../errors/index.ts";

export interface DataUrl {
  readonly mediaType: string;
  /** The `name` parameter that our own command sends; for messages only. */
  readonly name: string | null;
  readonly bytes: Buffer;
}

/** Of what stands before the data, in UTF-16 units: media type, parameters and the name that our own command sends. */
const longestHeader = 4096;

/**
 * Reads `data:[<type>][;parameter=value]*[;base64],<data>` (RFC 2397); the default type is text/plain.
 * @throws CodedError INPUT_FILE
 */
export function readDataUrl(url: string): DataUrl {
  const comma = url.slice(0, longestHeader).indexOf(",");
  if (comma < 0)
    throw new CodedError("INPUT_FILE", `the data URL has no comma in its first ${longestHeader} characters`);
  const [mediaType = "", ...parameters] = url.slice("data:".length, comma).split(";");
  const isBase64 = parameters.at(-1)?.trim().toLowerCase() === "base64";
  const name = parameters.find((parameter) => parameter.startsWith("name="))?.slice("name=".length);
  return {
    mediaType: mediaType.trim() || "text/plain",
    name: name === undefined ? null : decoded(name),
    bytes: isBase64 ? base64(url.slice(comma + 1)) : percent(url.slice(comma + 1)),
  };
}

function base64(text: string): Buffer {
  const plain = text.includes("%") ? decoded(text) : text;
  // Buffer.from takes anything and would give a damaged file.
  const dense = /\s/.test(plain) ? plain.replace(/\s+/g, "") : plain;
  const padding = dense.indexOf("=");
  if (/[^A-Za-z0-9+/_=-]/.test(dense) || (padding >= 0 && !["=", "=="].includes(dense.slice(padding)))) {
    throw new CodedError("INPUT_FILE", "the data URL holds characters that are not base64");
  }
  if (dense.length % 4 !== 0) {
    throw new CodedError("INPUT_FILE", "the base64 of the data URL is cut off, or lacks its padding with =");
  }
  return Buffer.from(dense, "base64");
}

function percent(text: string): Buffer {
  return Buffer.from(decoded(text), "utf8");
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
