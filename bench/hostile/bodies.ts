import type { Attack } from "./attack.ts";

const mebi = 2 ** 20;

/** `text` again and again between `start` and `end`, `bytes` in all. */
function filled(start: string, text: string, end: string, bytes: number): Buffer {
  const body = Buffer.alloc(bytes - ((bytes - start.length - end.length) % text.length), text);
  body.write(start);
  // Whole texts only between the two.
  body.fill(text, start.length, body.length - end.length);
  body.write(end, body.length - end.length);
  return body;
}

/** Bodies whose reading costs more than their size says. */
export const bodies: readonly Attack[] = [
  {
    name: "data URL of 80,000 spaces",
    run: (target) => target.input({ file: `data:;base64,${" ".repeat(80_000)}` }),
  },
  {
    name: "20 MB of 299-digit numbers",
    run: (target) => target.post(filled('{"x":[', `${"9".repeat(299)},`, "1]}", 20 * mebi)),
  },
  {
    name: "99 MB of empty objects under an unknown key",
    run: (target) => target.post(filled('{"x":[', "{},", "{}]}", 99 * mebi)),
  },
  {
    name: "800,000 distinct keys",
    run: (target) => target.post(`{${Array.from({ length: 800_000 }, (_, i) => `"${i.toString(36)}":1`)}}`),
  },
  {
    name: "eight bodies of 95 MB at once",
    seconds: 40,
    async run(target) {
      const body = filled('{"x":"', "x", '"}', 95 * mebi);
      await Promise.all(Array.from({ length: 8 }, () => target.post(body)));
    },
  },
  {
    name: "bodies of 64 KB of empty lists, 16 clients",
    seconds: 5,
    async run(target) {
      const body = filled('{"x":[', "[],", "[]]}", 65_000);
      const client = async () => {
        while (!target.signal.aborted) await target.post(body);
      };
      await Promise.all(Array.from({ length: 16 }, client));
    },
  },
  {
    name: "100,000 wrong items of a union",
    run: (target) => target.input({ items: new Array(100_000).fill("x") }),
  },
  {
    name: "100,000 files in one list",
    seconds: 30,
    run: (target) => target.input({ files: new Array(90_000).fill(`data:;base64,${"YWJj".repeat(256)}`) }),
  },
  {
    name: "data URL of 90 MB of parameters",
    run: (target) => target.post(filled('{"input":{"file":"data:', ";", ',"}}', 90 * mebi)),
  },
  {
    name: "8 MB of 190,000 values in one input",
    run: (target) => target.post(filled('{"input":{"any":{"a":[', `"${"x".repeat(40)}",`, '""]}}}', 8 * mebi - 1000)),
  },
  {
    name: "one text of 8 MB in an input",
    run: (target) => target.post(filled('{"input":{"any":"', "x", '"}}', 8 * mebi - 1000)),
  },
];
