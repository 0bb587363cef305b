import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseDataUrl } from "../../../../src/cog/cli/output/data-url.ts";
import { destination, fileName } from "../../../../src/cog/cli/output/destination.ts";
import { indentedJson, indentedRecord } from "../../../../src/cog/cli/output/json.ts";
import { writeOutput } from "../../../../src/cog/cli/output/write.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cog-output-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("printed JSON", () => {
  it("is indented, sorts keys by bytes and escapes what HTML would read", () => {
    expect(indentedJson({ b: [], "10": {}, a: ["<&>", -0, 1e21], "2": null, é: "\u2028", Z: true })).toBe(
      [
        "{",
        '  "10": {},',
        '  "2": null,',
        '  "Z": true,',
        '  "a": [',
        '    "\\u003c\\u0026\\u003e",',
        "    -0,",
        "    1e+21",
        "  ],",
        '  "b": [],',
        '  "é": "\\u2028"',
        "}",
      ].join("\n"),
    );
  });

  it("keeps the order of a record's own keys only", () => {
    expect(indentedRecord({ status: "s", output: { b: 1, a: 2 }, error: "" })).toBe(
      '{\n  "status": "s",\n  "output": {\n    "a": 2,\n    "b": 1\n  },\n  "error": ""\n}',
    );
  });
});

describe("a data URL", () => {
  it("gives bytes and extension, whatever parameters it has", () => {
    expect(parseDataUrl("data:image/png;name=a.b;base64,eHl6")).toEqual({
      content: Buffer.from("xyz"),
      extension: ".png",
    });
    expect(parseDataUrl("data:,a%20%C3%A9é")).toEqual({ content: Buffer.from("a éé"), extension: ".txt" });
    expect(parseDataUrl("data:what/ever;base64,")).toEqual({ content: Buffer.alloc(0), extension: "" });
  });

  it("is not what other texts are", () => {
    expect(parseDataUrl("https://example.com/x.png")).toBeUndefined();
    expect(parseDataUrl("data:image/png;base64")).toBeUndefined();
    expect(parseDataUrl(3)).toBeUndefined();
  });
});

describe("file names", () => {
  it.each([
    ["output", ".png", undefined, "output.png"],
    ["output", ".txt", 1, "output.1.txt"],
    ["out.png", ".txt", 0, "out.0.png"],
    ["v1.5", ".png", undefined, "v1.5.png"],
    ["d/output", "", undefined, "d/output"],
    ["weights", ".bin", "loss", "weights.loss.bin"],
  ])("%s with %s and part %s is %s", (base, extension, part, name) => {
    expect(fileName(base, extension, part)).toBe(name);
  });
});

describe("the destination", () => {
  const inFolder = (path: string) => join(folder, path);

  it("of a named archive is that file, -o with its ending, or a place in the folder that -o names", () => {
    mkdirSync(inFolder("d"));
    const archive = (output: string | undefined) =>
      destination({ output, base: "weights", json: false, archiveName: "adapter.tar.gz" }).archive;
    expect(archive(undefined)).toBe("adapter.tar.gz");
    expect(archive(inFolder("mine"))).toBe(inFolder("mine.tar.gz"));
    expect(archive(inFolder("v1.5"))).toBe(inFolder("v1.5.tar.gz"));
    expect(archive(inFolder("mine.tar.gz"))).toBe(inFolder("mine.tar.gz"));
    expect(archive(inFolder("mine.tgz"))).toBe(inFolder("mine.tgz"));
    expect(archive(inFolder("d"))).toBe(inFolder("d/adapter.tar.gz"));
  });

  it("is never a folder called weights, where a model's own weights are", () => {
    mkdirSync(inFolder("weights"));
    for (const archiveName of ["adapter.tar.gz", null]) {
      for (const output of [inFolder("weights"), `${inFolder("weights")}/`]) {
        expect(() => destination({ output, base: "weights", json: false, archiveName })).toThrow(
          "choose another --output",
        );
      }
    }
  });

  it("is checked before anything runs", () => {
    expect(() =>
      destination({ output: inFolder("no/such/x"), base: "output", json: false, archiveName: null }),
    ).toThrow(`Output path is not writable: Output directory is not writable: ${inFolder("no/such")}`);
  });
});

describe("writing", () => {
  it("replaces a file whole, and what a link points to", async () => {
    const target = join(folder, "target");
    writeFileSync(target, "old");
    symlinkSync(target, join(folder, "link"));
    await writeOutput(join(folder, "link"), "new");
    expect(readFileSync(target, "utf8")).toBe("new");
    expect(readdirSync(folder).sort()).toEqual(["link", "target"]);
  });

  it("goes straight into a device", async () => {
    await writeOutput("/dev/null", "gone");
    expect(readFileSync("/dev/null", "utf8")).toBe("");
  });

  it.skipIf(process.getuid?.() === 0)(
    "leaves nothing behind when the folder is read-only (root may write anywhere)",
    async () => {
      chmodSync(folder, 0o500);
      await expect(writeOutput(join(folder, "x"), "data")).rejects.toThrow("permission denied");
      expect(readdirSync(folder)).toEqual([]);
      chmodSync(folder, 0o700);
    },
  );

  describe("to a place that does not take it", () => {
    const { TMPDIR } = process.env;
    beforeEach(() => {
      process.env.TMPDIR = join(folder, "temporary");
      mkdirSync(process.env.TMPDIR);
    });
    afterEach(() => {
      if (TMPDIR === undefined) delete process.env.TMPDIR;
      else process.env.TMPDIR = TMPDIR;
    });
    const keptFile = (hint: string) => hint.slice("It is kept in ".length);

    it("says what is wrong when a folder is in the way, and keeps the result", async () => {
      mkdirSync(join(folder, "taken"));
      const failure = await writeOutput(join(folder, "taken"), "x").catch((error) => error);
      expect(failure.message).toMatch(/^Failed to write output: open .*taken: is a directory$/);
      expect(readFileSync(keptFile(failure.hint), "utf8")).toBe("x");
    });

    // Every write to it fails as on a full disk.
    it.skipIf(!existsSync("/dev/full"))("keeps the archive of a training, and says so under a code", async () => {
      const failure = await writeOutput("/dev/full", Buffer.from("archive"), { isTrained: true }).catch(
        (error) => error,
      );
      expect(failure).toMatchObject({
        code: "TRAINING_OUTPUT",
        message: "the training has ended, but /dev/full cannot be written: no space left on device",
        hint: expect.stringContaining(join(folder, "temporary")),
      });
      expect(readFileSync(keptFile(failure.hint), "utf8")).toBe("archive");
    });
  });
});
