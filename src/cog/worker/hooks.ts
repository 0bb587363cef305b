import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { LoadHook, ResolveHook } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { transform } from "esbuild";

/** The author's imports, answered by the running package wherever the project lies. */
const packageEntries = new Map([
  ["llama-lora-cog/cog", new URL("../index.js", import.meta.url).href],
  ["llama-lora-cog", new URL("../../index.js", import.meta.url).href],
]);

export const resolve: ResolveHook = async (specifier, context, next) => {
  const packageEntry = packageEntries.get(specifier);
  if (packageEntry !== undefined) return { url: packageEntry, format: "module", shortCircuit: true };
  try {
    return await next(specifier, context);
  } catch (error) {
    // TypeScript's own habit: `./x.js` names what will be built from x.ts.
    const source = sourceOf(specifier, context.parentURL);
    if (source !== null) return { url: source, format: "module", shortCircuit: true };
    throw error;
  }
};

function sourceOf(specifier: string, parent: string | undefined): string | null {
  if (parent === undefined || !/^\.{1,2}\/.*\.m?js$/.test(specifier)) return null;
  const path = fileURLToPath(new URL(specifier.replace(/js$/, "ts"), parent));
  return existsSync(path) ? pathToFileURL(path).href : null;
}

/** Turns TypeScript into JavaScript in memory, one file at a time, so that import.meta.url stays the file's own. */
export const load: LoadHook = async (url, context, next) => {
  if (!url.startsWith("file:") || !/\.m?ts$/.test(new URL(url).pathname)) return next(url, context);
  const path = fileURLToPath(url);
  const { code } = await transform(await readFile(path, "utf8"), {
    loader: "ts",
    format: "esm",
    target: "node20",
    sourcemap: "inline",
    sourcefile: path,
    // The project's own compiler settings are for checking types; they must not change what runs.
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true, useDefineForClassFields: true } },
  });
  return { format: "module", source: code, shortCircuit: true };
};
