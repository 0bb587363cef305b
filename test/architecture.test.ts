import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { errorCodes } from "../src/errors/index.ts";

const root = resolve(import.meta.dirname, "..");

function sourceFiles(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".ts"))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)));
}

/** Room -> the rooms it may import from (itself always). */
const arrows: Record<string, string[]> = {
  "src/errors": [],
  "src/network": ["src/errors"],
  "src/temporary": ["src/errors"],
  "src/terminal": ["src/errors"],
  "src/engine": ["src/errors"],
  "src/llama": ["src/engine", "src/network", "src/temporary", "src/terminal", "src/errors"],
  "src/training": ["src/llama", "src/engine", "src/temporary", "src/errors"],
  "src/cog": ["src/network", "src/temporary", "src/terminal", "src/errors"],
};

function roomOf(path: string): string {
  return path.split("/").slice(0, 2).join("/");
}

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), "utf8");
  const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*"(\.{1,2}\/[^"]+|llama-lora-cog\/cog)"/g)];
  return specifiers.map(([, specifier]) =>
    specifier === "llama-lora-cog/cog" ? "src/cog/index.ts" : relative(root, resolve(root, dirname(file), specifier!)),
  );
}

describe("the arrows of the architecture", () => {
  for (const [room, allowed] of Object.entries(arrows)) {
    it(`${room} imports only ${allowed.join(", ") || "nothing else"}`, () => {
      const files = sourceFiles(room);
      expect(files.length).toBeGreaterThan(0);
      const wrong = files.flatMap((file) =>
        importsOf(file)
          .filter((target) => target.startsWith("src/") && roomOf(target) !== room && !allowed.includes(roomOf(target)))
          .map((target) => `${file} -> ${target}`),
      );
      expect(wrong).toEqual([]);
    });
  }
});

describe("error codes", () => {
  it("are all described in docs/errors.md, and nothing else is", () => {
    const text = readFileSync(join(root, "docs", "errors.md"), "utf8");
    const documented = [...text.matchAll(/^## `([A-Z_]+)`$/gm)].map(([, code]) => code);
    expect(documented.toSorted()).toEqual(Object.keys(errorCodes).toSorted());
  });

  it("are all used by the code that the registry is for", () => {
    const sources = ["src", "native"]
      .flatMap((folder) => readdirSync(join(root, folder), { recursive: true, withFileTypes: true }))
      .filter((entry) => entry.isFile() && /\.(ts|cpp|h)$/.test(entry.name) && entry.name !== "codes.ts")
      .map((entry) => join(entry.parentPath, entry.name));
    const text = sources.map((path) => readFileSync(path, "utf8").replace(/^\s*(\*|\/\/).*$/gm, "")).join("\n");
    expect(Object.keys(errorCodes).filter((code) => !new RegExp(`\\b${code}\\b`).test(text))).toEqual([]);
  });
});

// Without nvcc at hand nothing else would tell: the emulated build compiles all of them alike.
describe("the files of the GPU module that a plain compiler compiles", () => {
  const folder = join(root, "native", "kernels", "cuda");
  const cmake = readFileSync(join(root, "native", "cuda.cmake"), "utf8");
  const namesIn = (pattern: RegExp) => (pattern.exec(cmake)?.[1] ?? "").split(/\s+/).filter(Boolean);
  const byNvcc = namesIn(
    /set_source_files_properties\((kernels\/cuda\/cuda_ops\.cpp[^)]*?)\s+PROPERTIES LANGUAGE CUDA/,
  );

  function reaches(file: string, target: string, seen = new Set<string>()): boolean {
    if (file === target) return true;
    if (seen.has(file) || !existsSync(file)) return false;
    seen.add(file);
    const includes = [...readFileSync(file, "utf8").matchAll(/^#include "([^"]+)"/gm)].map(([, name]) => name!);
    return includes.some((name) => reaches(resolve(dirname(file), name), target, seen));
  }

  const hosts = readdirSync(folder).filter((name) => name.endsWith(".cpp"));

  it.each(hosts)("%s is left to nvcc exactly where it names kernels' headers", (name) => {
    expect(reaches(join(folder, name), join(folder, "device.h"))).toBe(byNvcc.includes(`kernels/cuda/${name}`));
  });
});
