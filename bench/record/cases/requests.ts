// Routes, envelopes and what is refused before a prediction starts.
import { create, predict, scene, send } from "../build.ts";

const hello = { name: "Ada" };

export const requests = [
  scene("route-discovery", "the discovery document lists the routes", "greet", [send("GET", "/")]),
  scene("route-unknown", "unknown and nearly known paths are not found", "greet", [
    send("GET", "/prediction"),
    send("GET", "/health-check/"),
    send("POST", "/Predictions"),
    send("GET", "/docs"),
  ]),
  scene(
    "route-method",
    "a wrong method names the right ones",
    "greet",
    [
      send("GET", "/predictions"),
      send("DELETE", "/health-check"),
      send("GET", "/shutdown"),
      send("PATCH", "/predictions/p1"),
    ],
    { compare: [{ at: "^\\.3\\.headers\\.allow", rule: "ignore" }] },
  ),
  scene("route-head", "HEAD works where GET does", "greet", [
    send("HEAD", "/health-check"),
    send("HEAD", "/predictions"),
  ]),
  scene("route-health", "health of a server that is ready", "greet", [{ op: "health" }]),
  scene("route-cancel-unknown", "an unknown id cannot be cancelled", "greet", [
    send("POST", "/predictions/nothing-here/cancel"),
  ]),
  scene("type-none", "a body without a content type counts as none", "greet", [
    send("POST", "/predictions", { body: JSON.stringify({ input: hello }) }),
  ]),
  scene("type-other", "a body of another type is refused", "greet", [
    send("POST", "/predictions", {
      headers: { "Content-Type": "application/x-www-form-urlencoded" },
      body: "name=Ada",
    }),
    send("POST", "/predictions", { headers: { "Content-Type": "text/json" }, body: "{}" }),
  ]),
  scene("type-json", "JSON may have parameters and a prefix", "greet", [
    predict(hello, { headers: { "Content-Type": "application/json; charset=utf-8" } }),
    predict(hello, { headers: { "Content-Type": "application/vnd.api+json" } }),
  ]),
  scene("body-broken", "broken JSON is refused", "greet", [
    create('{"input": {"name": "Ada"'),
    create(""),
    create('{"input": {"name": "Ada"}} {}'),
    create('{"input": {"name": "\\ud83d"}}'),
    create('{"input": {"name": "Ada", "pause": 1e999}}'),
  ]),
  scene("body-shape", "JSON that is no envelope is refused", "greet", [
    create("null"),
    create('"input"'),
    create("17"),
    create({ input: hello, id: 5 }),
    create({ input: hello, webhook: ["x"] }),
    create({ input: hello, webhook_events_filter: ["started"] }),
    create({ input: hello, context: { depth: 1 } }),
    create('{"id": "a", "id": "b", "input": {"name": "Ada"}}'),
  ]),
  scene("body-extra", "unknown keys of the envelope and of the input are ignored", "greet", [
    create({ input: { ...hello, colour: "red" }, output_file_prefix: "x", created_at: null }),
  ]),
  scene("body-input-type", "an input that is no object is refused", "greet", [
    create({ input: "Ada" }),
    create({ input: ["Ada"] }),
    create({ input: 3 }),
  ]),
  scene("id-given", "a given id is answered", "greet", [create({ id: "my-run", input: hello })]),
  scene("id-made", "an id is made where none is given", "greet", [predict(hello)]),
  scene("id-path", "PUT takes the id from the path, decoded", "greet", [
    create({ input: hello }, { method: "PUT", path: "/predictions/one%20two" }),
    create({ id: "same", input: hello }, { method: "PUT", path: "/predictions/same" }),
    create({ id: "other", input: hello }, { method: "PUT", path: "/predictions/same" }),
  ]),
  scene("input-none", "a missing required input is named", "greet", [
    predict({}),
    create({}),
    send("POST", "/predictions"),
  ]),
  scene("input-kind", "inputs of a wrong kind are named", "greet", [
    predict({ name: 7 }),
    predict({ name: null }),
    predict({ name: "Ada", loud: "yes" }),
    predict({ name: "Ada", pause: "long" }),
    predict({ name: ["Ada"] }),
  ]),
  scene("input-limits", "limits of numbers", "measure", [
    predict({ width: 0 }),
    predict({ width: 101 }),
    predict({ width: 3, height: -0.5 }),
    predict({ width: 3, height: 9.75 }),
    predict({ width: 2.5 }),
    predict({ width: 4.0 }),
  ]),
  scene("input-choices", "choices", "measure", [predict({ width: 2, unit: "m" }), predict({ width: 2, unit: "yard" })]),
  scene("input-text", "length and pattern of text", "measure", [
    predict({ width: 2, code: "xyz" }),
    predict({ width: 2, code: "x" }),
    predict({ width: 2, code: "vwxyz" }),
    predict({ width: 2, code: "A1" }),
  ]),
  scene("input-null", "null where an input is optional, and where it is not", "measure", [
    predict({ width: 2, label: null, corners: null }),
    predict({ width: 2, height: null }),
    predict({ width: 2, tags: null }),
  ]),
  scene(
    "input-list",
    "lists and their items",
    "measure",
    [
      predict({ width: 2, tags: ["a", "b"], corners: [1, 2, 3] }),
      predict({ width: 2, tags: "a" }),
      predict({ width: 2, tags: ["a", 1] }),
      predict({ width: 2, corners: [1, "x"] }),
    ],
    { compare: [] },
  ),
  scene("input-many", "all problems of a request are told", "measure", [
    predict({ width: 0, unit: "yard", code: "A" }),
  ]),
  scene("input-defaults", "defaults fill what is missing", "measure", [predict({ width: 10 })]),
];
