import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DatasetOptions, readDataset } from "../../../src/training/dataset/index.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "dataset-shapes-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

async function read(content: unknown, options: DatasetOptions = {}, name = "data.json") {
  const path = join(folder, name);
  writeFileSync(path, typeof content === "string" || Buffer.isBuffer(content) ? content : JSON.stringify(content));
  const { rows, summary } = await readDataset(path, options);
  return { rows: rows.map(({ source: _, ...row }) => row), summary };
}

const [user, assistant, system] = ["user", "assistant", "system"].map((role) => (content: string) => ({
  role,
  content,
})) as [(content: string) => object, (content: string) => object, (content: string) => object];
const turns = [user("Hi"), assistant("Hello.")];

describe("the shape of a row", () => {
  it.each<[string, object, object, string]>([
    [
      "alpaca",
      { instruction: "a", output: "b", text: "a b" },
      { instruction: "a", input: "", output: "b" },
      "Alpaca instructions",
    ],
    [
      "prompt-completion",
      { prompt: "a", completion: "b" },
      { instruction: "a", input: "", output: "b" },
      "prompt and completion",
    ],
    ["text", { text: "a" }, { text: "a" }, "text"],
    ["messages", { prompt: "Hi", messages: [system("S"), ...turns] }, { system: "S", turns }, "chat messages"],
    [
      "sharegpt",
      {
        system: "S",
        conversations: [
          { from: "human", value: "Hi" },
          { from: "gpt", value: "Hello." },
        ],
      },
      { system: "S", turns },
      "ShareGPT conversations",
    ],
  ])("is told by its fields and said: %s", async (_, row, expected, title) => {
    const { rows, summary } = await read([row]);
    expect(rows).toEqual([expected]);
    expect(summary.notes[0]).toBe(`data.json: 1 row of ${title}`);
  });

  it("may differ from row to row, which is said", async () => {
    const { rows, summary } = await read([
      { text: "a" },
      { instruction: "a", output: "b" },
      { text: "c", messages: null },
    ]);
    expect(rows).toHaveLength(3);
    expect(summary.notes[0]).toBe("data.json: 2 rows of text, 1 of Alpaca instructions");
    expect(summary.shapes).toEqual(
      new Map([
        ["text", 2],
        ["alpaca", 1],
      ]),
    );
  });

  it("can be forced", async () => {
    const row = { instruction: "a", output: "b", text: "c" };
    expect((await read([row], { format: "text" })).rows).toEqual([{ text: "c" }]);
    await expect(read([row], { format: "messages" })).rejects.toThrow(
      'data.json, record 1: field "messages" is missing',
    );
    await expect(read([row], { format: "csv" as "text" })).rejects.toMatchObject({ code: "TRAINING_SETTINGS" });
  });

  it("leaves other columns out, and names them", async () => {
    const { summary } = await read([{ id: 1, instruction: "a", output: "b", tags: [] }]);
    expect(summary.notes).toContain("data.json: columns that are not read: id, tags");
  });
});

describe("columns", () => {
  const rows = [{ q: "a", a: "b", c: "" }];

  it("give fields other names", async () => {
    const columns = { instruction: "q", output: "a", input: "c" };
    expect((await read(rows, { columns })).rows).toEqual([{ instruction: "a", input: "", output: "b" }]);
    expect((await read("q\ta\tc\nx\ty\tz\n", { columns })).rows).toEqual([
      { instruction: "x", input: "z", output: "y" },
    ]);
    expect((await read([{ talk: turns }], { columns: { messages: "talk" } })).rows).toEqual([{ system: null, turns }]);
  });

  it("that no row has, or fields that no row has, are refused with those there are", async () => {
    await expect(read(rows, { columns: { instruction: "q", output: "answer" } })).rejects.toMatchObject({
      code: "DATASET_COLUMNS",
      message: 'data.json: no row has "answer", named as output in columns',
      hint: 'The columns are "q", "a", "c".',
    });
    await expect(read(rows, { columns: { question: "q" } })).rejects.toMatchObject({
      code: "DATASET_COLUMNS",
      message: 'columns: "question" is no field of a row',
    });
    await expect(read(rows, { columns: { output: 1 } })).rejects.toMatchObject({ code: "DATASET_COLUMNS" });
  });

  it("are suggested where the names are near, and guessed only of one question and its answer", async () => {
    const { rows: pair, summary } = await read("question,answer\na,b\n");
    expect(pair).toEqual([{ instruction: "a", input: "", output: "b" }]);
    expect(summary.notes).toContain('data.json: "question" and "answer" of 1 row are taken as prompt and completion');
    const context = { question: "a", context: "c", answer: "b" };
    const hint = `Say which column is which: columns='{"instruction":"question","output":"answer","input":"context"}'.`;
    await expect(read([context])).rejects.toMatchObject({ hint });
    await expect(read("question,context,answer\na,b,c\n")).rejects.toMatchObject({ hint });
    await expect(read([{ input: "a", output: "b" }])).rejects.toMatchObject({
      message: 'data.json, record 1: field "instruction" is missing',
      hint: expect.stringContaining(`columns='{"instruction":"input"}'`),
    });
  });
});

describe("a conversation", () => {
  const messages = (...list: unknown[]) => read([{ messages: list }]);

  it("joins the parts of a text", async () => {
    const parts = [
      { type: "text", text: "H" },
      { type: "text", text: "i" },
    ];
    expect((await messages({ role: "user", content: parts }, assistant("Hello."))).rows).toEqual([
      { system: null, turns },
    ]);
  });

  it("loses what nobody answers, which is said", async () => {
    const { rows, summary } = await messages(...turns, user("And you?"));
    expect(rows).toEqual([{ system: null, turns }]);
    expect(summary.notes).toContain(
      "data.json: 1 conversation ends with words of the user that nobody answers: these are left out",
    );
  });

  it.each<[unknown[], string]>([
    [[user("Hi")], '"messages" holds no answer of the assistant'],
    [[], '"messages" holds no answer of the assistant'],
    [[assistant("Hello.")], "turn 1 is the assistant's where the user's is expected"],
    [[system("S"), user("a"), user("b")], "turn 3 is the user's where the assistant's is expected"],
    [[user("Hi"), system("S")], "turn 2 is the system's where the assistant's is expected"],
    [[{ role: "tool", content: "x" }], 'turn 1 has "role" "tool", not one of system, user, assistant'],
    [
      [user("Hi"), { role: "assistant", content: null, tool_calls: [{}] }],
      'turn 2 has "tool_calls": calls of tools cannot',
    ],
    [[user("Hi"), { ...assistant("x"), weight: 0 }], 'turn 2 has "weight" 0'],
    [[{ role: "user", content: [{ type: "image_url" }] }], 'turn 1 has "content" with a part of the type "image_url"'],
    [[{ role: "user" }], 'turn 1 has "content" missing, not a text'],
    [["Hi"], "turn 1 must be an object, found string"],
  ])("that cannot be learnt is a problem of its row: %j", async (list, message) => {
    await expect(messages(...list)).rejects.toMatchObject({
      code: "DATASET_ROW_FIELD",
      message: expect.stringContaining(`data.json, record 1: ${message}`),
    });
  });
});
