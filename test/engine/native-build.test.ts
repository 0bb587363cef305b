import { spawn } from "node:child_process";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { buildCommand } from "../cog/cli/command.ts";

const root = resolve(import.meta.dirname, "../..");
beforeAll(buildCommand);

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

const addon = `#include <node_api.h>
NAPI_MODULE_INIT() {
  napi_value text;
  napi_create_string_utf8(env, "built", NAPI_AUTO_LENGTH, &text);
  napi_set_named_property(env, exports, "state", text);
  return exports;
}
`;
const cmake = `cmake_minimum_required(VERSION 3.20)
project(small CXX)
add_library(llama_cpu MODULE addon.cpp)
set_target_properties(llama_cpu PROPERTIES PREFIX "" SUFFIX ".node")
target_include_directories(llama_cpu PRIVATE \${NODE_API_HEADERS})
`;

interface Outcome {
  /** Of the addon. */
  state?: string;
  /** Of the engine. */
  name?: string;
  code?: string;
  message?: string;
  hint?: string;
  stderr: string;
}

/** The package as npm installs it, with an engine that compiles in a second in place of the real one's sources. */
class Package {
  readonly path = mkdtempSync(join(tmpdir(), "native-build-"));
  readonly cache = join(this.path, "cache");
  readonly #home = join(this.path, "package");

  constructor(source = addon) {
    folders.push(this.path);
    mkdirSync(join(this.#home, "native"), { recursive: true });
    cpSync(join(root, "package.json"), join(this.#home, "package.json"));
    cpSync(join(root, "scripts"), join(this.#home, "scripts"), { recursive: true });
    cpSync(join(root, "dist"), join(this.#home, "dist"), { recursive: true });
    symlinkSync(join(root, "node_modules"), join(this.#home, "node_modules"));
    this.write("native/CMakeLists.txt", cmake);
    this.write("native/addon.cpp", source);
  }

  write(name: string, text: string): void {
    writeFileSync(join(this.#home, name), text);
  }

  /** Another package's file where the folder for what is built should be: no rights make a folder unwritable for root. */
  refuseWriting(): void {
    this.write("build", "");
  }

  built(): string[] {
    const folder = join(this.#home, "build", "native");
    return existsSync(folder) ? readdirSync(folder) : [];
  }

  /** Opens the addon in a process of its own. */
  open(env: NodeJS.ProcessEnv = {}): Promise<Outcome> {
    return this.#run("(await import('./dist/engine/native/addon.js')).openAddon()", env);
  }

  /** Opens the engine that LLAMA_ENGINE names, or what runs in its place. */
  openEngine(env: NodeJS.ProcessEnv): Promise<Outcome> {
    return this.#run("(await import('./dist/engine/open.js')).openEngine()", env);
  }

  #run(call: string, env: NodeJS.ProcessEnv): Promise<Outcome> {
    const program =
      `const told = await ${call}.catch(({ code, message, hint }) => ({ code, message, hint }));` +
      "console.log(JSON.stringify({ ...told }));";
    const child = spawn(process.execPath, ["--input-type=module", "--eval", program], {
      cwd: this.#home,
      env: { ...process.env, XDG_CACHE_HOME: this.cache, ...env },
    });
    const texts = { stdout: "", stderr: "" };
    for (const name of ["stdout", "stderr"] as const) {
      child[name].setEncoding("utf8").on("data", (text: string) => {
        texts[name] += text;
      });
    }
    return new Promise((done) =>
      child.on("close", () => done({ ...JSON.parse(texts.stdout || "{}"), stderr: texts.stderr })),
    );
  }
}

const timesBuilt = (stderr: string) => stderr.split("native engine: building it").length - 1;

describe("the native engine", () => {
  it("is built when it is first needed, says so, once for all processes that need it, and again where its sources are others", async () => {
    const installed = new Package();
    const first = await Promise.all([installed.open(), installed.open(), installed.open()]);
    expect(first.map(({ state }) => state)).toEqual(["built", "built", "built"]);
    expect(first.reduce((sum, { stderr }) => sum + timesBuilt(stderr), 0)).toBe(1);
    expect(installed.built()).toContain("llama_cpu.node");
    expect(await installed.open()).toEqual({ state: "built", stderr: "" });
    installed.write("native/addon.cpp", addon.replace('"built"', '"built again"'));
    expect(await installed.open()).toMatchObject({ state: "built again" });
  });

  it("goes into the user's cache where the package's folder cannot be written", async () => {
    const installed = new Package();
    installed.refuseWriting();
    expect(await installed.open()).toMatchObject({ state: "built" });
    expect(readdirSync(join(installed.cache, "llama-lora-cog"))).toEqual([
      expect.stringMatching(/^native-[0-9a-f]{16}$/),
    ]);
    expect(await installed.open()).toEqual({ state: "built", stderr: "" });
  });

  it("names what is missing where it cannot be built", async () => {
    const installed = new Package();
    const { code, message, hint } = await installed.open({ PATH: "/nowhere" });
    expect([code, message]).toEqual(["ENGINE_UNAVAILABLE", expect.stringContaining("needs cmake, make, g++")]);
    expect(hint).toContain("apt-get install cmake make g++");
    expect(installed.built()).not.toContain("llama_cpu.node");
  });

  it("is replaced by TensorFlow.js where it cannot be built, which is said, and not where it was asked for", async () => {
    const installed = new Package();
    const replaced = await installed.openEngine({ PATH: "/nowhere", LLAMA_TF_BACKEND: "cpu" });
    expect(replaced.name).toBe("tensorflow");
    expect(replaced.stderr).toContain("runs in place of the native engine, many times slower: ");
    const asked = await installed.openEngine({ PATH: "/nowhere", LLAMA_ENGINE: "native" });
    expect(asked.code).toBe("ENGINE_UNAVAILABLE");
  });

  it("shows the compiler's message where it does not compile", async () => {
    const { code, stderr } = await new Package("no C++ at all").open();
    expect(code).toBe("ENGINE_UNAVAILABLE");
    expect(stderr).toContain("addon.cpp");
  });
});
