import { expect, it } from "vitest";
import { extensionFor, mediaTypeOf } from "../../src/cog/media-types.ts";

it.each([".txt", ".csv", ".json", ".jsonl", ".tar", ".zip", ".bin", ".jpg", ".tiff", ".mp3", ".wav", ".mov", ".yaml"])(
  "a file that is sent as what %s stands for comes back with that extension",
  (extension) => {
    expect(extensionFor(mediaTypeOf(`a.b${extension}`))).toBe(extension);
    expect(extensionFor(`${mediaTypeOf(`A${extension.toUpperCase()}`)}; charset=utf-8`)).toBe(extension);
  },
);

it("other extensions stand for the same, and other types for the same extension", () => {
  expect([".jpeg", ".htm", ".tgz", ".yml", ".oga"].map((extension) => mediaTypeOf(`x${extension}`))).toEqual([
    "image/jpeg",
    "text/html",
    "application/gzip",
    "application/yaml",
    "audio/ogg",
  ]);
  expect(extensionFor("application/x-ndjson")).toBe(".jsonl");
});

it("what is not known is octet-stream, and has no extension", () => {
  expect(["x", "x.zz", ".json"].map(mediaTypeOf)).toEqual(new Array(3).fill("application/octet-stream"));
  expect(["application/x-zz", "audio/wav", ""].map(extensionFor)).toEqual(["", "", ""]);
});
