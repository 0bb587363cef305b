import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { referenceData } from "../../reference-data.mjs";
import { buildCommand, lastLine, ProjectFolder } from "./command.ts";
import { ServedFixtures } from "./served.ts";

// What the Go client does with the same model and the same words, where its recordings lie beside the project.
const cases = join(referenceData, "conformance", "cli", "cases");

interface Recording {
  id: string;
  title: string;
  fixture?: string;
  argv: string[];
  files?: Record<string, string>;
  env?: Record<string, string>;
  stdin?: string;
  exit: number;
  stdout: string;
  stderr: string;
  written: Record<string, string | { base64: string }>;
}

/** Where this command differs on purpose, why, and what it does instead. */
interface Difference {
  reason: string;
  expected: Partial<Pick<Recording, "exit" | "stdout" | "written">> & { lastLine?: string };
}

const weightsJson = (bytes: string) => `{\n  "weights": "data:application/octet-stream;base64,${bytes}"\n}`;

const differences: Record<string, Difference> = {
  K36: {
    reason: "the file in an object output is written too",
    expected: { written: { weights: weightsJson("eHh4eA=="), "weights.bin": "xxxx" } },
  },
  K36e: {
    reason: "the file in an object output is written too",
    expected: { written: { out: weightsJson("eA=="), "out.bin": "x" } },
  },
  K36f: {
    reason: "nothing is written into a folder weights/: a model's own weights are read there",
    expected: {
      written: { "weights.json": weightsJson("eA=="), "weights.bin": "x" },
      lastLine: "Written output to: weights.json",
    },
  },
  K43h: {
    reason: "a process on this machine has its caller's environment, as in LLAMA_WEIGHTS=… cog predict",
    expected: { stdout: "fromhost\n" },
  },
  K18b: {
    reason: "a folder is sent as a tar",
    expected: { exit: 0, stdout: expect.stringContaining('"base": "<name>.tar"'), lastLine: "Running prediction..." },
  },
  K8: {
    reason: "a wrong choice says what was found",
    expected: { lastLine: 'invalid input "size": must be one of: small, large; found "huge"' },
  },
  K8b: {
    reason: "a wrong choice says what was found",
    expected: { lastLine: 'invalid input "steps": must be one of: 3, 4; found 5' },
  },
  K16: {
    reason: "integers are read as doubles, not as 32 bits",
    expected: { exit: 0, stdout: kitAnswer({ seed: 3000000000 }), lastLine: "Running prediction..." },
  },
};

function kitAnswer(changed: Record<string, unknown>): string {
  const answer = {
    flag: false,
    n: 2,
    note: null,
    prompt: "p",
    seed: null,
    size: "small",
    slug: "ok",
    steps: 3,
    stop: null,
    temp: 0.5,
    title: "ok",
    value: null,
    ...changed,
  };
  return `${JSON.stringify(answer, undefined, 2)}\n`;
}

/** Recordings about images: this command runs the project itself. */
const aboutImages = /^K(40|43i|43j|43o|46.*|48)$/;

const all: Recording[] = existsSync(cases)
  ? readdirSync(cases).map((name) => JSON.parse(readFileSync(join(cases, name), "utf8")) as Recording)
  : [];

/** K22, K22c and K22e are of one kind: npm test replays one of each; npm run conformance and the thorough tests, all. */
const recordings = process.env.THOROUGH_TESTS === undefined ? oneOfEach(all) : all;

function oneOfEach(some: readonly Recording[]): Recording[] {
  const seen = new Set<string>();
  return some
    .filter(({ id }) => !aboutImages.test(id))
    .sort((a, b) => a.id.localeCompare(b.id, "en", { numeric: true }))
    .filter(({ id }) => {
      const kind = id.replace(/[a-z]$/, "");
      return !seen.has(kind) && seen.add(kind);
    });
}

/** The fixture's own image variants do not matter without images. */
const fixtureOf = ({ fixture }: Recording) =>
  fixture === "nolabel" ? "kit" : fixture === undefined ? "echo" : fixture;

describe.skipIf(recordings.length === 0)("results of the Go client, recorded beside the project", () => {
  beforeAll(buildCommand);
  afterAll(() => served.close());

  for (const recording of recordings.filter(({ id }) => !aboutImages.test(id))) {
    const { reason } = differences[recording.id] ?? {};
    it.concurrent(`${recording.id}: ${recording.title}${reason ? `, but ${reason}` : ""}`, async () => {
      const fixture = fixtureOf(recording);
      const project = new ProjectFolder(isLocal.has(fixture) ? fixture : undefined, recording.files);
      try {
        const words = recording.argv.slice(1).filter((word) => word !== "$IMAGE");
        // A model of its own for each case would take a minute; where the start is not the point, cases share a server.
        if (!isLocal.has(fixture) && recording.fixture !== undefined)
          words.splice(1, 0, await served.addressOf(fixture));
        const result = await project.run(words, { env: recording.env, stdin: recording.stdin });
        const difference = differences[recording.id]?.expected ?? {};
        expect({
          exit: result.exit,
          stdout: comparable(result.stdout),
          written: Object.fromEntries(
            project.written().map((name) => [name, comparable(project.read(name).toString("latin1"))]),
          ),
        }).toEqual({
          exit: difference.exit ?? recording.exit,
          stdout:
            difference.stdout ??
            (recording.stdout.startsWith(failedRecord) ? expect.stringContaining(ownWords) : recording.stdout),
          written: Object.fromEntries(
            Object.entries(difference.written ?? recording.written).map(([name, text]) => [name, asText(text)]),
          ),
        });
        const message = difference.lastLine ?? lastLine(recording.stderr);
        if (message.includes("Prediction failed: ")) expect(lastLine(result.stderr)).toMatch(fromTheServer(message));
        else expect(lastLine(result.stderr)).toBe(message);
      } finally {
        project.remove();
      }
    });
  }
});

/** Fixtures whose cases are about the start of a model, its environment or its training: these run without an address. */
const isLocal = new Set(["env", "wts", "ssl", "sbad", "hc", "train", "train1"]);

const served = new ServedFixtures();

const ownWords = "bad apple";
const failedRecord = '{\n  "status": "failed"';

/** What differs from run to run is replaced as in the recordings. */
function comparable(text: string): string {
  return text.replace(/("predict_time": )[\d.e-]+/, "$10").replace(/("base": ")[^".]*/, "$1<name>");
}

function asText(content: string | { base64: string }): string {
  return typeof content === "string" ? content : Buffer.from(content.base64, "base64").toString("latin1");
}

/** The server's part of a message only needs to hold the author's own words. */
function fromTheServer(message: string): RegExp {
  return message.includes(ownWords)
    ? /^Prediction failed with status "failed": .*bad apple/
    : /^Prediction failed with status "failed": /;
}
