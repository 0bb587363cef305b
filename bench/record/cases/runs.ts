// What becomes of a prediction: synchronous, asynchronous, streamed, cancelled.
import { async, create, predict, scene, send, stream } from "../build.ts";

const cancel = (id: string) => send("POST", `/predictions/${id}/cancel`);
const settled = { op: "health", until: "READY" };

export const runs = [
  scene("sync-answer", "the answer of a prediction that succeeds", "greet", [predict({ name: "Grace", loud: true })]),
  scene("sync-failed", "the answer of a prediction that fails", "greet", [
    predict({ name: "nobody" }),
    predict({ name: "Ada" }),
  ]),
  scene("sync-unicode", "text of any script goes in and out", "greet", [predict({ name: 'Ζωή 🦙 \u0000 "x" \\ \n' })], {
    compare: [{ at: "\\.logs$", rule: "string" }],
  }),
  scene("sync-list", "an iterator's pieces are a list", "ticker", [predict({ ticks: 2 }), predict({ ticks: 0 })]),
  scene("sync-text", "a concatenated iterator's pieces are a list, too", "words", [predict({ text: "to be" })]),
  scene("sync-list-failed", "an iterator that fails", "ticker", [predict({ ticks: 4, break_at: 2 })], {
    compare: [{ at: "\\.output$", rule: "ignore" }],
  }),
  scene("slots-one", "one slot: the second request is refused", "greet", [
    predict({ name: "slow", pause: 0.8 }, { as: "first" }),
    { op: "sleep", ms: 300 },
    { op: "health", until: "BUSY" },
    predict({ name: "late" }, { busy: true }),
    { op: "await", ref: "first" },
    settled,
    predict({ name: "now" }),
  ]),
  scene(
    "slots-two",
    "two slots: two run side by side, the third is refused",
    "pair",
    [
      predict({ who: "Ann", pause: 1 }, { as: "ann" }),
      predict({ who: "Ben", pause: 1 }, { as: "ben" }),
      { op: "sleep", ms: 400 },
      predict({ who: "Cid" }, { busy: true }),
      { op: "await", ref: "ann" },
      { op: "await", ref: "ben" },
    ],
    { server: { env: { COG_MAX_CONCURRENCY: "2" }, flags: [], wait_for: "READY" } },
  ),
  scene("async-answer", "respond-async is answered at once", "greet", [
    create({ id: "later", input: { name: "Ada", pause: 0.3 } }, { headers: async }),
    settled,
  ]),
  scene("async-put-twice", "PUT of a run in flight starts nothing", "greet", [
    create({ input: { name: "Ada", pause: 0.8 } }, { method: "PUT", path: "/predictions/once", headers: async }),
    { op: "sleep", ms: 300 },
    create({ input: { name: "Ada", pause: 0.8 } }, { method: "PUT", path: "/predictions/once", headers: async }),
    settled,
  ]),
  scene("async-put-again", "PUT of a run that has ended starts a new one", "greet", [
    create({ input: { name: "Ada" } }, { method: "PUT", path: "/predictions/again" }),
    settled,
    create({ input: { name: "Bob" } }, { method: "PUT", path: "/predictions/again" }),
  ]),
  scene("stream-events", "a stream's events in their order", "ticker", [predict({ ticks: 3 }, { headers: stream })]),
  scene("stream-text", "a stream of words", "words", [predict({ text: "a bird in the hand" }, { headers: stream })]),
  scene("stream-failed", "a stream that fails ends with that", "ticker", [
    predict({ ticks: 3, break_at: 1 }, { headers: stream }),
  ]),
  scene("stream-invalid", "a stream is refused as any other request", "ticker", [
    predict({ ticks: "x" }, { headers: stream }),
  ]),
  scene("stream-none", "a model that does not stream says so", "greet", [
    predict({ name: "Ada" }, { headers: stream }),
  ]),
  scene("stream-live", "pieces are sent when they are made", "ticker", [
    predict({ ticks: 4, pause: 0.2 }, { headers: stream, spread: 350 }),
  ]),
  scene("stream-replay", "who joins a stream by PUT gets all of it", "ticker", [
    create(
      { input: { ticks: 4, pause: 0.25 } },
      { method: "PUT", path: "/predictions/joined", headers: stream, as: "first" },
    ),
    { op: "events", ref: "first", event: "output", count: 2 },
    create({ input: { ticks: 4, pause: 0.25 } }, { method: "PUT", path: "/predictions/joined", headers: stream }),
    { op: "await", ref: "first" },
  ]),
  scene("cancel-async", "a cancelled run tells its receiver", "greet", [
    create({ id: "halt", input: { name: "Ada", pause: 20 }, webhook: "{{sink}}/hook" }, { headers: async }),
    { op: "sleep", ms: 400 },
    cancel("halt"),
    { op: "webhooks", recordHeaders: ["content-type"], settleMs: 300 },
    settled,
  ]),
  scene("cancel-sync", "a cancelled run answers the one who waits", "greet", [
    create({ id: "stop", input: { name: "Ada", pause: 20 } }, { as: "waiting" }),
    { op: "sleep", ms: 400 },
    cancel("stop"),
    { op: "await", ref: "waiting" },
  ]),
  scene("cancel-stream", "a cancelled stream ends with that", "ticker", [
    create({ id: "calm", input: { ticks: 50, pause: 0.2 } }, { headers: stream, as: "open" }),
    { op: "events", ref: "open", event: "output", count: 1 },
    cancel("calm"),
    { op: "await", ref: "open" },
  ]),
  scene("cancel-gone", "who leaves a synchronous request cancels it", "greet", [
    create({ id: "left", input: { name: "Ada", pause: 20 }, webhook: "{{sink}}/hook" }, { as: "leaving" }),
    { op: "sleep", ms: 400 },
    { op: "close", ref: "leaving" },
    { op: "webhooks" },
    settled,
  ]),
  scene("cancel-ended", "a run that has ended cannot be cancelled", "greet", [
    create({ id: "over", input: { name: "Ada" } }),
    settled,
    cancel("over"),
  ]),
];
