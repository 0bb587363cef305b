import { extname } from "node:path";

/**
 * Extensions and media types, as Python's `mimetypes` pairs them for a Cog server, and what data sets and models come in beside.
 * Not the package `mime`: it pairs 44 of Python's 149 extensions otherwise, names files `.mpga` and `.qt`, and lacks `.jsonl` and `.tgz`.
 * The first pair counts: the first type of an extension, the first extension of a type.
 */
const pairs: readonly (readonly [extension: string, mediaType: string])[] = [
  [".txt", "text/plain"],
  [".log", "text/plain"],
  [".html", "text/html"],
  [".htm", "text/html"],
  [".css", "text/css"],
  [".csv", "text/csv"],
  [".md", "text/markdown"],
  [".json", "application/json"],
  [".jsonl", "application/jsonl"],
  [".jsonl", "application/x-ndjson"],
  [".ndjson", "application/x-ndjson"],
  [".yaml", "application/yaml"],
  [".yml", "application/yaml"],
  [".xml", "application/xml"],
  [".pdf", "application/pdf"],
  [".zip", "application/zip"],
  [".gz", "application/gzip"],
  [".tgz", "application/gzip"],
  [".tar", "application/x-tar"],
  [".bin", "application/octet-stream"],
  [".jpg", "image/jpeg"],
  [".jpeg", "image/jpeg"],
  [".png", "image/png"],
  [".gif", "image/gif"],
  [".webp", "image/webp"],
  [".svg", "image/svg+xml"],
  [".bmp", "image/bmp"],
  [".tiff", "image/tiff"],
  [".tif", "image/tiff"],
  [".avif", "image/avif"],
  [".mp3", "audio/mpeg"],
  [".ogg", "audio/ogg"],
  [".oga", "audio/ogg"],
  [".flac", "audio/flac"],
  // Cog knows no extension for audio/wav.
  [".wav", "audio/x-wav"],
  [".m4a", "audio/mp4"],
  [".mp4", "video/mp4"],
  [".webm", "video/webm"],
  [".mov", "video/quicktime"],
  [".mkv", "video/x-matroska"],
];

const types = new Map(pairs.toReversed());
const extensions = new Map(pairs.toReversed().map(([extension, type]) => [type, extension]));

/** By the extension of a file's name, else application/octet-stream. Readers look at the bytes anyway. */
export function mediaTypeOf(file: string): string {
  return types.get(extname(file).toLowerCase()) ?? "application/octet-stream";
}

/** ".jpg" for "image/jpeg", parameters ignored; "" where the type is not known. */
export function extensionFor(mediaType: string): string {
  return extensions.get(mediaType.split(";")[0]!.trim().toLowerCase()) ?? "";
}
