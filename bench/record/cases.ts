// The requests that bench/record/record.ts sends to a real Cog server: what a client of ours may do, in a few dozen cases.
// The answers are recorded into test/cog/recordings, and replayed against our server by every npm test.

// biome-ignore lint/suspicious/noExplicitAny: steps are plain JSON of many shapes; `answer` lists what is to be recorded
export type Step = Record<string, any>;

export interface Request {
  readonly id: string;
  readonly title: string;
  readonly fixture: string;
  readonly flags?: string[];
  readonly env?: Record<string, string>;
  readonly services?: object;
  readonly steps: Step[];
}

const json = { "Content-Type": "application/json" };
const asJson = { status: 0, headers: {}, json: null };
const asText = { status: 0, headers: {}, text: "" };
const asEvents = { status: 0, headers: {}, events: [] };
const asNothing = { status: 0, headers: {}, empty: true };

function call(method: string, path: string, body: unknown, headers: object = {}, answer: object = asJson): Step {
  const text = body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) };
  return { op: "http", method, path, headers: { ...(body === undefined ? {} : json), ...headers }, ...text, answer };
}
const post = (input: object, more: object = {}, headers: object = {}, answer: object = asJson) =>
  call("POST", "/predictions", { input, ...more }, headers, answer);
const raw = (body: string, type: string, answer: object = asText) =>
  call("POST", "/predictions", body, { "Content-Type": type }, answer);
const health = (until: string) => ({ op: "health", until, answer: {} });
const later = { Prefer: "respond-async" };
const stream = { Accept: "text/event-stream" };
const slow = { topic: "a", words: 40, pause: 0.1 };
const deliveries = (count: number) => ({
  op: "webhooks",
  completed: count,
  settleMs: 300,
  answer: { deliveries: [{ headers: { "content-type": "", authorization: "", traceparent: "" } }] },
});
const oddNames = ["/dir/..%2Fup.txt", "/a%2Fb.txt", "/a%00b.txt", "/a+b%2Bc.txt", "/dir/%2F"];
const letter = `data:text/plain;base64,${Buffer.from("dear writer").toString("base64")}`;

export const requests: Request[] = [
  { id: "O1", title: "a prediction", fixture: "writer", steps: [post({ topic: "a" }), post({ topic: "b", words: 0 })] },
  { id: "O2", title: "choices and defaults", fixture: "writer", steps: [post({ topic: "a", tone: "loud", words: 1 })] },
  { id: "O3", title: "a failure half way", fixture: "writer", steps: [post({ topic: "a", words: 2, fail: true })] },
  {
    id: "O4",
    title: "a stream, and one that fails",
    fixture: "writer",
    steps: [
      post({ topic: "a", words: 2 }, { id: "streamed" }, stream, asEvents),
      post(
        { topic: "a", words: 1, fail: true },
        { id: "broken" },
        { Accept: "a/b, text/event-stream;q=0.1" },
        {
          ...asEvents,
        },
      ),
    ],
  },
  {
    id: "O5",
    title: "which Accept asks for a stream",
    fixture: "writer",
    steps: ["*/*", "text/*", "Text/Event-Stream", "text/event-stream-x"].map((Accept) =>
      post({ topic: "a", words: 1 }, {}, { Accept }),
    ),
  },
  {
    id: "O6",
    title: "later answers, and which Prefer asks for them",
    fixture: "writer",
    steps: [
      post({ topic: "a", words: 1 }, { id: "later" }, later),
      health("READY"),
      ...["respond-async, wait=5", "Respond-Async", "wait=5"].map((Prefer) =>
        post({ topic: "a", words: 1 }, {}, { Prefer }),
      ),
    ],
  },
  {
    id: "O7",
    title: "a run in flight: PUT again, another one, cancel twice",
    fixture: "writer",
    steps: [
      call("PUT", "/predictions/p", { input: slow }, later),
      health("BUSY"),
      { op: "sleep", ms: 50 },
      call("PUT", "/predictions/p", { input: { topic: 5 } }, {}, { status: 0, headers: {} }),
      call("PUT", "/predictions/q", { input: { topic: "b" } }),
      call("PUT", "/predictions/q", { input: { topic: 5 } }),
      call("PUT", "/trainings/p", {}, {}, { status: 0, headers: {} }),
      call("POST", "/predictions/p/cancel", undefined),
      health("READY"),
      call("POST", "/predictions/p/cancel", undefined),
    ],
  },
  {
    id: "O8",
    title: "ids: of path and body, generated, with any characters",
    fixture: "writer",
    steps: [
      call("PUT", "/predictions/a", { id: "b", input: { topic: "a" } }),
      call("PUT", "/predictions/a", { id: "a", input: { topic: "a", words: 1 } }),
      call("PUT", "/predictions/a%2Fb%20%C3%A9", { input: { topic: "a", words: 1 } }),
      post({ topic: "a", words: 1 }, { id: "" }),
      post({ topic: "a", words: 1 }, { id: null }),
      post({ topic: "a", words: 1 }, { id: 5 }, {}, asText),
    ],
  },
  {
    id: "O9",
    title: "validation, each kind of breach",
    fixture: "desk",
    steps: [
      post({}),
      post({ task: 5 }),
      post({ task: "list", copies: 10 }),
      post({ task: "list", copies: -1, weight: 2 }),
      post({ task: "list", copies: "2" }),
      post({ task: "list", copies: 2.5 }),
      post({ task: "list", copies: 2.0, weight: 1 }),
      post({ task: "list", weight: true }),
      post({ task: "list", stamp: "ab" }),
      post({ task: "list", stamp: "ABCDE" }),
      post({ task: "list", size: "a3" }),
      post({ task: "list", labels: ["x", 5] }),
      post({ task: "list", labels: "x" }),
      post({ task: "list", note: null }),
      post({ task: "list", note: "n", unknown: 1, __proto__x: 2 }),
    ],
  },
  {
    id: "O10",
    title: "lengths count characters, not their halves",
    fixture: "writer",
    steps: [
      post({ topic: "\u{1f58b}".repeat(8), words: 1 }),
      post({ topic: "\u{1f58b}".repeat(9) }),
      post({ topic: "" }),
    ],
  },
  {
    id: "O11",
    title: "envelopes that do not fit, and some that do",
    fixture: "writer",
    steps: [
      ...[
        "null",
        '"text"',
        "5",
        '{"input":{},"input":{}}',
        '{"context":{"a":1}}',
        '{"webhook_events_filter":null}',
      ].map((body) => raw(body, "application/json")),
      raw('{"webhook_events_filter":["never"]}', "application/json"),
      raw('{"input":5}', "application/json", asJson),
      raw('{"input":{"topic":"a","words":9,"words":1}}', "application/json", asJson),
      raw('{"input":{"topic":"a","words":1},"context":{"a":"b"},"version":"x"}', "application/vnd.x+json", asJson),
    ],
  },
  {
    id: "O12",
    title: "bodies that are not JSON",
    fixture: "writer",
    steps: [
      ...["", "{", '{"input":{}} x', "{'input':{}}", '{"id":"\\ud800"}', '{"input":{"topic":1e400}}'].map((body) =>
        raw(body, "application/json; charset=utf-8"),
      ),
      { ...raw("", "application/json"), body: { hex: "efbbbf7b7d" } },
      { ...raw("", "application/json"), body: { hex: "7b226964223a22ff227d" } },
      ...["text/plain", "text/json", "application/x-www-form-urlencoded"].map((type) => raw("{}", type)),
      { ...call("POST", "/predictions", undefined), body: '{"input":{"topic":"a"}}' },
    ],
  },
  {
    id: "O13",
    title: "paths and methods",
    fixture: "writer",
    steps: [
      ...["/predictions/", "/Predictions", "//predictions", "/docs", "/predictions/a/stream/x"].map((path) =>
        call("GET", path, undefined, {}, asNothing),
      ),
      call("GET", "/predictions", undefined, {}, asNothing),
      call("DELETE", "/", undefined, {}, asNothing),
      call("OPTIONS", "/health-check", undefined, {}, asNothing),
      call("GET", "/shutdown", undefined, {}, asNothing),
      call("PUT", "/predictions/a/cancel", undefined, {}, asNothing),
      call("GET", "/", undefined),
    ],
  },
  {
    id: "O14",
    title: "files as input: data URLs, downloads, one that is not there",
    fixture: "desk",
    services: { files: { "/dir/my%20letter.md": { status: 200, body: "# dear" } } },
    steps: [
      post({ task: "read", paper: letter }),
      post({ task: "read", paper: "data:application/json,%7B%7D" }),
      post({ task: "read", paper: "{{files}}/dir/my%20letter.md" }),
      post({ task: "count", papers: [letter, "data:,abc"] }),
      { ...post({ task: "read", paper: "{{files}}/absent" }), contains: ["404"], answer: { ...asJson, contains: [] } },
      post({ task: "list", note: "{{files}}/dir/my%20letter.md" }),
    ],
  },
  {
    id: "O15",
    title: "files and other shapes as output",
    fixture: "desk",
    steps: [
      post({ task: "write" }),
      post({ task: "pile", copies: 2 }),
      post({ task: "pile", copies: 0 }),
      post({ task: "nothing" }),
      post({ task: "unlock", key: "s3cret" }),
    ],
  },
  {
    id: "O16",
    title: "an uploaded file, and an upload that fails",
    fixture: "desk",
    flags: ["--upload-url", "{{upload}}/put"],
    services: {
      upload: {
        answers: [{ status: 201, headers: { location: "https://files.example/got?token=1" } }, { status: 500 }],
      },
    },
    steps: [
      post({ task: "write" }, { id: "first" }),
      post({ task: "write" }, { id: "second" }),
      {
        op: "uploads",
        count: 2,
        answer: { uploads: [{ headers: { "content-type": "", "x-prediction-id": "", authorization: "" } }] },
      },
    ],
  },
  {
    id: "O17",
    title: "webhooks: all events of one, the end of others",
    fixture: "writer",
    env: { WEBHOOK_AUTH_TOKEN: "t0ken", COG_THROTTLE_RESPONSE_INTERVAL: "0" },
    steps: [
      post(
        { topic: "a", words: 1, pause: 0.3 },
        { webhook: "{{sink}}/a", webhook_events_filter: ["completed"] },
        { ...later, traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
      ),
      health("READY"),
      post({ topic: "b", words: 1, fail: true }, { webhook: "{{sink}}/b", webhook_events_filter: ["completed"] }),
      post({ topic: 5 }, { webhook: "{{sink}}/c" }),
      deliveries(2),
    ],
  },
  {
    id: "O18",
    title: "the start and the end of one run, in their order",
    fixture: "writer",
    steps: [
      post(
        { topic: "a", words: 2, pause: 0.4 },
        { webhook: "{{sink}}/a", webhook_events_filter: ["start", "completed"] },
      ),
      deliveries(1),
    ],
  },
  {
    id: "O19",
    title: "a terminal event that is refused twice",
    fixture: "writer",
    services: { sink: { answers: [{ status: 503 }, { status: 429 }, { status: 200 }] } },
    steps: [
      post({ topic: "a", words: 0 }, { webhook: "{{sink}}/a", webhook_events_filter: ["completed"] }, later),
      deliveries(3),
    ],
  },
  {
    id: "O20",
    title: "a second reader of a stream gets all of it",
    fixture: "writer",
    steps: [
      { ...post({ topic: "a", words: 3, pause: 0.3 }, { id: "twice" }, stream, asEvents), as: "first" },
      { op: "sleep", ms: 400 },
      call("PUT", "/predictions/twice", { input: {} }, stream, asEvents),
      { op: "await", ref: "first", answer: asEvents },
    ],
  },
  {
    id: "O21",
    title: "a cancel ends the stream",
    fixture: "writer",
    steps: [
      { ...post(slow, { id: "s" }, stream, asEvents), as: "s" },
      health("BUSY"),
      call("POST", "/predictions/s/cancel", undefined),
      { op: "await", ref: "s", answer: { status: 0, headers: {} } },
      health("READY"),
    ],
  },
  {
    id: "O22",
    title: "health from the setup on",
    fixture: "writer",
    steps: [{ op: "health", until: "READY", full: true, answer: { body: {} } }],
  },
  {
    id: "O23",
    title: "a training, one that fails, one that is refused",
    fixture: "school",
    flags: ["--x-mode", "train"],
    steps: [
      call("POST", "/trainings", { input: { book: "data:text/plain,abc", lessons: 2 } }),
      call("POST", "/trainings", { input: { book: "data:text/plain,abc", fail: true } }),
      call("POST", "/trainings", { input: { lessons: 4 } }),
      call("PUT", "/trainings/t", { input: { book: "data:text/plain,abc" } }, stream),
      call("PUT", "/trainings/t", { id: "u", input: {} }),
    ],
  },
  {
    id: "O24",
    title: "no stream where the model has none",
    fixture: "desk",
    steps: [post({ task: "list" }, {}, stream), post({ task: 5 }, {}, stream)],
  },
  {
    id: "O25",
    title: "a shutdown lets what runs end",
    fixture: "writer",
    steps: [
      { ...post({ topic: "a", words: 2, pause: 0.4 }), as: "run" },
      health("BUSY"),
      call("POST", "/shutdown", undefined),
      { op: "await", ref: "run", answer: asJson },
      { op: "exit", answer: {} },
    ],
  },
  {
    id: "O26",
    title: "names of files that are downloaded",
    fixture: "desk",
    services: {
      files: Object.fromEntries(oddNames.map((path) => [path, { status: 200, body: "# dear" }])),
    },
    steps: oddNames.map((path) => post({ task: "name", paper: `{{files}}${path}` })),
  },
  {
    id: "O27",
    title: "base64 with and without its padding",
    fixture: "desk",
    steps: ["ZGVhcg==", "ZGVh%0Acg==", "ZGVhcg%3D%3D", "ZGVhcg", "ZGVhcg=", "ZGVhcmU", "Z"].map((data) =>
      post({ task: "read", paper: `data:text/plain;base64,${data}` }),
    ),
  },
  {
    id: "O28",
    title: "events of webhooks that are none",
    fixture: "writer",
    steps: ["[1]", "[null]", "[true]", "[[]]", '["start",1]', '["never",1]', '[1,"never"]', '"start"', "1", "{}"].map(
      (filter) => raw(`{"webhook_events_filter":${filter}}`, "application/json"),
    ),
  },
];
