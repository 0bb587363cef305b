import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { FilesInBody } from "../../../../src/cog/cli/input/files-in-body.ts";
import { resolveInputs } from "../../../../src/cog/cli/input/resolve.ts";
import { inputSchema, type ModelDocument, type Schema } from "../../../../src/cog/cli/input/schema.ts";
import { parseJson, parsePairs } from "../../../../src/cog/cli/input/supplied.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "cog-input-"));
  writeFileSync(join(folder, "rows of mine.json"), "[1]");
  writeFileSync(join(folder, "x.zzz"), "?");
});
afterAll(() => rmSync(folder, { recursive: true }));

function documentOf(properties: Record<string, Schema>, required: string[] = [], more: Record<string, Schema> = {}) {
  return { components: { schemas: { Input: { type: "object", properties, required }, ...more } } } as ModelDocument;
}

const document = documentOf(
  {
    text: { type: "string", maxLength: 5 },
    n: { type: "integer", minimum: 1, maximum: 5, nullable: true },
    x: { type: "number" },
    flag: { type: "boolean" },
    stop: { type: "array", items: { type: "string" }, nullable: true },
    modules: { type: "array", items: { $ref: "#/components/schemas/style" }, maxItems: 3 },
    counts: { type: "array", items: { type: "integer" } },
    style: { allOf: [{ $ref: "#/components/schemas/style" }], "x-order": 6 },
    amount: { anyOf: [{ type: "integer" }, { type: "string" }] },
    options: { type: "object" },
    messages: { type: "array", items: { type: "object" } },
    file: { type: "string", format: "uri" },
    files: { type: "array", items: { type: "string", format: "uri" } },
    slug: { type: "string", pattern: "^[a-z]+$" },
  },
  [],
  { style: { type: "string", enum: ["plain", "bold"] } },
);
const schema = inputSchema(document, "/predictions")!;

const elsewhere = new FilesInBody({ isOurs: false });
const ours = new FilesInBody({ isOurs: true });
const resolve = (...words: string[]) => resolveInputs(parsePairs(words), schema, elsewhere);

describe("-i name=value", () => {
  it("becomes the type that the schema declares", async () => {
    expect(
      await resolve("text=10", "n=3", "x=.5", "flag=true", "stop=a", "counts=[1,2]", "style=bold", 'options={"a":1}'),
    ).toEqual({ text: "10", n: 3, x: 0.5, flag: true, stop: ["a"], counts: [1, 2], style: "bold", options: { a: 1 } });
  });

  it("is split at the first equals sign and loses one pair of double quotes", async () => {
    expect(await resolve('text="a=b"')).toEqual({ text: "a=b" });
    expect(await resolve("text=")).toEqual({ text: "" });
    expect(await resolve('text="')).toEqual({ text: '"' });
    expect(await resolve("text='a'")).toEqual({ text: "'a'" });
  });

  it("makes a list of a repeated name, item by item", async () => {
    expect(await resolve("counts=1", "counts=2")).toEqual({ counts: [1, 2] });
    expect(await resolve('stop=["x"]', "stop=y")).toEqual({ stop: ['["x"]', "y"] });
  });

  it.each([
    ["plain,bold"],
    ["plain, bold"],
    ["[plain,bold]"],
    ["['plain', 'bold']"],
    ['["plain","bold"]'],
    ['"["plain","bold"]"'],
    ['"[\\"plain\\",\\"bold\\"]"'],
  ])("%s is a list of choices", async (text) => {
    expect(await resolve(`modules=${text}`)).toEqual({ modules: ["plain", "bold"] });
  });

  it("takes choices one at a time and together", async () => {
    expect(await resolve("modules=bold")).toEqual({ modules: ["bold"] });
    expect(await resolve("modules=bold", "modules=plain,bold")).toEqual({ modules: ["bold", "plain", "bold"] });
    expect(await resolve("modules=[]")).toEqual({ modules: [] });
    // Text that is free may hold a comma.
    expect(await resolve("stop=a,b")).toEqual({ stop: ["a,b"] });
  });

  it("takes Python's True and False as booleans, and as text where text fits", async () => {
    expect(await resolve("flag=True")).toEqual({ flag: true });
    expect(await resolve("flag=False", "amount=True", "text=True")).toEqual({
      flag: false,
      amount: "True",
      text: "True",
    });
  });

  it("takes the first type of a union that fits", async () => {
    expect(await resolve("amount=7")).toEqual({ amount: 7 });
    expect(await resolve("amount=7.5")).toEqual({ amount: "7.5" });
    expect(await resolve("amount=true")).toEqual({ amount: "true" });
  });

  it("keeps whole numbers beyond 32 bits, and the digits of fractions", async () => {
    const wide = inputSchema(documentOf({ seed: { type: "integer" }, x: { type: "number" } }), "/predictions");
    expect(await resolveInputs(parsePairs(["seed=3000000000", "x=0.1"]), wide, elsewhere)).toEqual({
      seed: 3e9,
      x: 0.1,
    });
  });

  it("stays text where no schema is known, names that other objects have included", async () => {
    expect(await resolveInputs(parsePairs(["constructor=1", "n=2"]), undefined, elsewhere)).toEqual({
      constructor: "1",
      n: "2",
    });
  });
});

describe("name=@file", () => {
  it("becomes a data URL; our own server is told the file's name", async () => {
    const word = `file=@${join(folder, "rows of mine.json")}`;
    expect(await resolve(word)).toEqual({ file: "data:application/json;base64,WzFd" });
    expect(await resolveInputs(parsePairs([word]), schema, ours)).toEqual({
      file: "data:application/json;name=rows%20of%20mine.json;base64,WzFd",
    });
  });

  it("is octet-stream for an unknown extension, and an item for a list", async () => {
    expect(await resolve(`files=@${join(folder, "x.zzz")}`)).toEqual({
      files: ["data:application/octet-stream;base64,Pw=="],
    });
  });

  it("is the file's JSON for an object, and for a list of objects or numbers", async () => {
    const of = (name: string, json: string) => {
      writeFileSync(join(folder, name), json);
      return join(folder, name);
    };
    const turn = of("turn.json", '{"role":"user"}');
    const turns = of("turns.json", '\ufeff[{"role":"user"},{"role":"assistant"}]');
    expect(await resolve(`options=@${turn}`, `messages=@${turns}`, `counts=@${of("counts.json", "[1,2]")}`)).toEqual({
      options: { role: "user" },
      messages: [{ role: "user" }, { role: "assistant" }],
      counts: [1, 2],
    });
    expect(await resolve(`messages=@${turn}`)).toEqual({ messages: [{ role: "user" }] });
    expect(await resolve(`messages=@${turn}`, `messages=@${turn}`)).toEqual({
      messages: [{ role: "user" }, { role: "user" }],
    });
    const supplied = await parseJson(JSON.stringify({ messages: `@${turns}` }));
    expect(await resolveInputs(supplied, schema, elsewhere)).toEqual(await resolve(`messages=@${turns}`));
    const broken = of("broken.json", "[{");
    await expect(resolve(`messages=@${broken}`)).rejects.toThrow(`input "messages": ${broken} must be JSON: `);
    await expect(resolve("messages=@nowhere")).rejects.toThrow(
      'input "messages": open nowhere: no such file or directory',
    );
  });

  it("names the input and the path when the file cannot be read", async () => {
    await expect(resolve("file=@nowhere.json")).rejects.toThrow(
      'input "file": open nowhere.json: no such file or directory',
    );
    await expect(resolve(`text=@${folder}`)).rejects.toThrow(`input "text": read ${folder}: is a directory`);
  });

  it("works for the top level of --json, not inside lists", async () => {
    const path = join(folder, "x.zzz");
    const supplied = await parseJson(JSON.stringify({ file: `@${path}`, stop: [`@${path}`] }));
    expect(await resolveInputs(supplied, schema, elsewhere)).toEqual({
      file: "data:application/octet-stream;base64,Pw==",
      stop: [`@${path}`],
    });
  });
});

describe("a wrong input", () => {
  const cases: [string, string[], string][] = [
    ["without equals sign", ["text"], "Failed to parse input 'text', expected format is 'name=value'"],
    ["of another type", ["n=lots"], 'invalid input "n": expected integer, got string'],
    ["with a fraction", ["n=2.5"], 'invalid input "n": expected integer, got string'],
    ["that is no number", ["x=nan"], 'invalid input "x": expected number, got string'],
    ["that is neither true nor false", ["flag=1"], 'invalid input "flag": expected boolean, got string'],
    ["that is too large", ["n=9"], 'invalid input "n": number must be at most 5'],
    ["that is too small", ["n=0"], 'invalid input "n": number must be at least 1'],
    ["that is too long", ["text=sixsix"], 'invalid input "text": maximum string length is 5'],
    ["of too many items", ["modules=plain,plain,bold,bold"], 'invalid input "modules": maximum number of items is 3'],
    ["outside the choices", ["style=odd"], 'invalid input "style": must be one of: plain, bold; found "odd"'],
    [
      "outside the choices of a list",
      ["modules=plain,odd"],
      'invalid input "modules.1": must be one of: plain, bold; found "odd"',
    ],
    ["off the pattern", ["slug=A"], 'invalid input "slug": string doesn\'t match the regular expression "^[a-z]+$"'],
    ["in a list", ["counts=1", "counts=b"], 'invalid input "counts.1": expected integer, got string'],
    [
      "repeated though it is single",
      ["text=a", "text=b", "text=c"],
      'invalid input "text": given 3 times, takes one value',
    ],
    ["of a union repeated", ["amount=1", "amount=2"], 'invalid input "amount": given 2 times, takes one value'],
    ["that should be JSON", ["options={"], 'input "options": the value must be JSON'],
  ];
  it.each(cases)("%s", async (_title, words, message) => {
    await expect((async () => resolve(...words))()).rejects.toThrow(message);
  });

  it("that is a file's name without @ is told how a file is sent", async () => {
    await expect(resolveInputs(parsePairs(["files=rows.json"]), schema, ours)).rejects.toMatchObject({
      message: 'input "files": rows.json is not a URL',
      hint: "Send a file with @: -i files=@rows.json",
    });
    const url = "HTTPS://example.com/rows.json";
    expect(await resolveInputs(parsePairs([`file=${url}`]), schema, ours)).toEqual({ file: url });
  });

  it("in several places is told in one message, in the order of the names", async () => {
    await expect(resolve("x=a", "n=9")).rejects.toThrow(
      'input validation failed:\n- invalid input "n": number must be at most 5\n- invalid input "x": expected number, got string',
    );
  });

  it("of unknown name hides everything else and lists the known names", async () => {
    const names = [...schema.properties.keys()].sort().join(", ");
    await expect(resolve("n=99", "zz=1", "yy=@nowhere")).rejects.toThrow(
      `unknown inputs "yy", "zz"; valid inputs are: ${names}`,
    );
  });

  it("that is an explicit null hides wrong types", async () => {
    const supplied = await parseJson('{"n":null,"x":"3"}');
    await expect(resolveInputs(supplied, schema, elsewhere)).rejects.toThrow(
      'invalid input "n": must not be null (omit the input to use its default)',
    );
  });

  it("that is missing is named", async () => {
    const strict = inputSchema(documentOf({ a: { type: "string" } }, ["a"]), "/predictions");
    await expect(resolveInputs(parsePairs([]), strict, elsewhere)).rejects.toThrow('missing required input "a"');
  });

  it("cannot hide in a length counted in UTF-16", async () => {
    expect(await resolve("text=🦙🦙🦙🦙🦙")).toEqual({ text: "🦙🦙🦙🦙🦙" });
    await expect(resolve("text=🦙🦙🦙🦙🦙🦙")).rejects.toThrow("maximum string length is 5");
  });
});

describe("--json", () => {
  it.each([
    ["{", "Failed to parse JSON: unexpected end of JSON input"],
    ['{"a":"b', "Failed to parse JSON: unexpected end of JSON input"],
    ["[1]", "Failed to parse JSON: an object"],
    ["@nowhere.json", 'Failed to read JSON from file "nowhere.json": open nowhere.json: no such file or directory'],
  ])("%s is refused", async (text, message) => {
    await expect(parseJson(text)).rejects.toThrow(message);
  });
});
