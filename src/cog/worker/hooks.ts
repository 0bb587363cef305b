import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { LoadHook, ResolveHook } from "node:module";
import { fileURLToPath, pathToFileURL } from "node:url";
import { type TransformFailure, type TransformOptions, transform } from "esbuild";
import { syntaxCode } from "./load-failure.ts";
import { messageAt } from "./source-place.ts";

/** The author's imports, answered by the running package wherever the project lies. */
const packageEntries = new Map([
  ["llama-lora-cog/cog", new URL("../index.js", import.meta.url).href],
  ["llama-lora-cog", new URL("../../index.js", import.meta.url).href],
]);
const packageFolder = new URL("../..", import.meta.url).href;

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
  const pathname = url.startsWith("file:") ? new URL(url).pathname : "";
  if (/\.m?ts$/.test(pathname)) {
    return { format: "module", source: await compiled(fileURLToPath(url), "ts"), shortCircuit: true };
  }
  const isAuthors = /\.m?js$/.test(pathname) && !pathname.includes("/node_modules/") && !url.startsWith(packageFolder);
  // Node itself would not say where such a file is wrong.
  if (isAuthors) await compiled(fileURLToPath(url), "js");
  return next(url, context);
};

/** @throws an error with the place in the file when it is not of the language */
async function compiled(path: string, loader: "ts" | "js"): Promise<string> {
  const settings: TransformOptions = {
    loader,
    format: "esm",
    target: "node20",
    sourcemap: "inline",
    sourcefile: path,
    // The project's own compiler settings are for checking types; they must not change what runs.
    tsconfigRaw: { compilerOptions: { verbatimModuleSyntax: true, useDefineForClassFields: true } },
  };
  try {
    return (await transform(await readFile(path, "utf8"), settings)).code;
  } catch (error) {
    const [first] = (error as Partial<TransformFailure>).errors ?? [];
    if (!first?.location) throw error;
    const { line, lineText, column } = first.location;
    // The column counts bytes.
    const before = Buffer.from(lineText).subarray(0, column).toString("utf8").length;
    const message = messageAt({ file: path, line, column: before, text: lineText }, first.text);
    throw Object.assign(new SyntaxError(message), { code: syntaxCode });
  }
}
