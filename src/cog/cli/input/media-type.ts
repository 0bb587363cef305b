import { extname } from "node:path";

/** File extensions and the media types they are sent as; the first extension of a type is the one written to disk. */
const table: readonly (readonly [string, string])[] = [
  [".txt", "text/plain"],
  [".csv", "text/csv"],
  [".html", "text/html"],
  [".htm", "text/html"],
  [".md", "text/markdown"],
  [".json", "application/json"],
  [".jsonl", "application/x-ndjson"],
  [".ndjson", "application/x-ndjson"],
  [".yaml", "application/yaml"],
  [".yml", "application/yaml"],
  [".xml", "application/xml"],
  [".pdf", "application/pdf"],
  [".bin", "application/octet-stream"],
  [".tar", "application/x-tar"],
  [".gz", "application/gzip"],
  [".tgz", "application/gzip"],
  [".zip", "application/zip"],
  [".png", "image/png"],
  [".jpg", "image/jpeg"],
  [".jpeg", "image/jpeg"],
  [".gif", "image/gif"],
  [".webp", "image/webp"],
  [".bmp", "image/bmp"],
  [".tiff", "image/tiff"],
  [".svg", "image/svg+xml"],
  [".mp3", "audio/mpeg"],
  [".wav", "audio/wav"],
  [".flac", "audio/flac"],
  [".ogg", "audio/ogg"],
  [".m4a", "audio/mp4"],
  [".mp4", "video/mp4"],
  [".mov", "video/quicktime"],
  [".webm", "video/webm"],
  [".mkv", "video/x-matroska"],
];

const types = new Map(table);
const extensions = new Map(table.toReversed().map(([extension, type]) => [type, extension]));

/** The media type for a file's name; octet-stream where the extension says nothing. Servers look at the bytes anyway. */
export function mediaTypeOf(path: string): string {
  return types.get(extname(path).toLowerCase()) ?? "application/octet-stream";
}

/** The extension (with its dot) for a media type, parameters ignored; empty where it is not known. */
export function extensionOf(mediaType: string): string {
  return extensions.get(mediaType.split(";")[0]!.trim().toLowerCase()) ?? "";
}
