import { extname } from "node:path";

/** Extension by media type; where several are in use, the one that Cog's clients look for (".jpg", ".mp3"). */
const extensions = new Map([
  ["image/jpeg", ".jpg"],
  ["image/png", ".png"],
  ["image/gif", ".gif"],
  ["image/webp", ".webp"],
  ["image/svg+xml", ".svg"],
  ["image/bmp", ".bmp"],
  ["image/tiff", ".tiff"],
  ["image/avif", ".avif"],
  ["audio/mpeg", ".mp3"],
  ["audio/ogg", ".ogg"],
  ["audio/flac", ".flac"],
  ["audio/x-wav", ".wav"],
  ["video/mp4", ".mp4"],
  ["video/webm", ".webm"],
  ["video/quicktime", ".mov"],
  ["text/plain", ".txt"],
  ["text/html", ".html"],
  ["text/css", ".css"],
  ["text/csv", ".csv"],
  ["text/markdown", ".md"],
  ["application/json", ".json"],
  ["application/jsonl", ".jsonl"],
  ["application/xml", ".xml"],
  ["application/pdf", ".pdf"],
  ["application/zip", ".zip"],
  ["application/gzip", ".gz"],
  ["application/x-tar", ".tar"],
  ["application/octet-stream", ".bin"],
]);

/** By extension, for output files; beyond the above, other names for the same. */
const mediaTypes = new Map([
  ...[...extensions].map(([type, extension]) => [extension, type] as const),
  [".jpeg", "image/jpeg"],
  [".tif", "image/tiff"],
  [".htm", "text/html"],
  [".oga", "audio/ogg"],
  [".log", "text/plain"],
  [".tgz", "application/gzip"],
]);

/** ".jpg" for "image/jpeg"; "" where the type is not known. */
export function extensionFor(mediaType: string): string {
  return extensions.get(mediaType.toLowerCase()) ?? "";
}

/** By the name's extension, else application/octet-stream. */
export function mediaTypeOf(file: string): string {
  return mediaTypes.get(extname(file).toLowerCase()) ?? "application/octet-stream";
}
