// Files, webhooks, metrics, trainings, health and the end of a server.
import { async, create, predict, scene, send, stream } from "../build.ts";

const page = `data:text/plain;base64,${Buffer.from("once upon a time").toString("base64")}`;
const hooked = (input: object, more: object = {}) =>
  create({ id: "hooked", input, webhook: "{{sink}}/hook", ...more }, { headers: async });
const deliveries = { op: "webhooks", recordHeaders: ["content-type"], settleMs: 300 };
const uploading = { server: { env: {}, flags: ["--upload-url", "{{upload}}/store/"], wait_for: "READY" } };
const training = { server: { env: {}, flags: ["--x-mode", "train"], wait_for: "READY" } };
const train = (input: object, more: object = {}) => create({ input }, { path: "/trainings", ...more });

export const surroundings = [
  scene("file-data", "a data URL is a file, and files are answered as data URLs", "pages", [
    predict({ page, copies: 2 }),
  ]),
  scene("file-url", "a URL is fetched", "pages", [predict({ page: "{{files}}/story.txt" }), { op: "downloads" }], {
    services: { files: { "/story.txt": { status: 200, headers: { "Content-Type": "text/plain" }, body: "long ago" } } },
  }),
  scene("file-missing", "a URL that is not there fails the prediction", "pages", [
    predict({ page: "{{files}}/none.txt" }),
  ]),
  scene("file-refused", "a host that does not answer fails the prediction", "pages", [
    predict({ page: "{{closed}}/x.txt" }),
  ]),
  scene("file-kind", "a file input that is no text is refused", "pages", [
    predict({ page: 5 }),
    predict({ page: [page] }),
  ]),
  scene(
    "file-upload",
    "files are sent to the upload URL",
    "pages",
    [predict({ page, copies: 1 }), { op: "uploads", count: 1, recordHeaders: ["content-type"] }],
    uploading,
  ),
  scene("file-upload-fails", "an upload that is refused fails the prediction", "pages", [predict({ page })], {
    ...uploading,
    services: { upload: { answers: [{ status: 403 }] } },
  }),
  scene("hook-all", "start and end are told", "greet", [hooked({ name: "Ada" }), deliveries]),
  scene("hook-failed", "a failure is told", "greet", [hooked({ name: "nobody" }), deliveries]),
  scene("hook-filter", "only the events asked for are told", "greet", [
    hooked({ name: "Ada" }, { webhook_events_filter: ["completed"] }),
    deliveries,
  ]),
  scene("hook-filter-none", "an empty filter", "greet", [
    hooked({ name: "Ada" }, { webhook_events_filter: [] }),
    { op: "sleep", ms: 800 },
    { op: "webhooks", completed: 0 },
  ]),
  scene("hook-output", "each output is told", "ticker", [
    hooked({ ticks: 3, pause: 0.1 }, { webhook_events_filter: ["output", "completed"] }),
    { op: "webhooks" },
  ]),
  scene(
    "hook-again",
    "the end is told again when the receiver fails",
    "greet",
    [
      hooked({ name: "Ada" }, { webhook_events_filter: ["completed"] }),
      { op: "webhooks", completed: 2, timeoutMs: 20000 },
    ],
    { services: { sink: { answers: [{ status: 500 }, { status: 200 }] } } },
  ),
  scene(
    "hook-token",
    "the token goes with the deliveries",
    "greet",
    [
      hooked({ name: "Ada" }, { webhook_events_filter: ["completed"] }),
      { op: "webhooks", recordHeaders: ["authorization", "content-type"] },
    ],
    { server: { env: { WEBHOOK_AUTH_TOKEN: "open-sesame" }, flags: [], wait_for: "READY" } },
  ),
  scene("hook-sync", "a synchronous request has webhooks, too", "greet", [
    create({ id: "both", input: { name: "Ada" }, webhook: "{{sink}}/hook" }),
    deliveries,
  ]),
  scene("metric-values", "metrics are in the answer", "gauge", [
    predict({ what: "plain" }),
    predict({ what: "twice" }),
    predict({ what: "sum" }),
    predict({ what: "list" }),
    predict({ what: "nested" }),
    predict({ what: "none" }),
  ]),
  scene("metric-names", "names that are not allowed fail the prediction", "gauge", [
    predict({ what: "name" }),
    predict({ what: "reserved" }),
  ]),
  scene("train-answer", "the answer of a training", "tune", [train({ steps: 3 })], training),
  scene(
    "train-invalid",
    "a training's inputs are checked",
    "tune",
    [train({ steps: 0 }), train({ steps: "x" })],
    training,
  ),
  scene(
    "train-async",
    "a training tells its end",
    "tune",
    [
      create({ id: "t1", input: { steps: 2 }, webhook: "{{sink}}/hook" }, { path: "/trainings", headers: async }),
      deliveries,
    ],
    training,
  ),
  scene(
    "train-cancel",
    "a training is cancelled",
    "tune",
    [
      create({ id: "t2", input: { pause: 20 } }, { path: "/trainings", as: "waiting" }),
      { op: "sleep", ms: 500 },
      send("POST", "/trainings/t2/cancel"),
      { op: "await", ref: "waiting" },
      send("POST", "/trainings/t2/cancel"),
    ],
    training,
  ),
  scene(
    "train-put",
    "PUT of a training",
    "tune",
    [
      create({ input: { steps: 1 } }, { method: "PUT", path: "/trainings/t3" }),
      create({ id: "t5", input: { steps: 1 } }, { method: "PUT", path: "/trainings/t4" }),
    ],
    training,
  ),
  scene("train-stream", "trainings are not streamed", "tune", [train({ steps: 1 }, { headers: stream })], training),
  scene(
    "health-setup-failed",
    "a setup that fails is told",
    "unready",
    [{ op: "health" }, predict({}), send("GET", "/openapi.json")],
    { server: { env: {}, flags: [], wait_for: "SETUP_FAILED" }, compare: [{ at: "^\\.2", rule: "ignore" }] },
  ),
  scene("health-ill", "a model that says it is ill", "nurse", [
    predict({ ill: true }),
    { op: "health" },
    predict({ ill: false }),
    { op: "health" },
  ]),
  scene("end-shutdown", "shutdown lets a run finish", "greet", [
    predict({ name: "last", pause: 0.8 }, { as: "last" }),
    { op: "sleep", ms: 300 },
    send("POST", "/shutdown"),
    { op: "await", ref: "last" },
    { op: "exit" },
  ]),
  scene("end-signal", "a server that has nothing to do ends at once", "greet", [
    { op: "signal", signal: "SIGTERM" },
    { op: "exit" },
  ]),
];
