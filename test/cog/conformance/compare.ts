import { createHash } from "node:crypto";

export interface Rule {
  readonly at: string;
  readonly rule: "ignore" | "set" | "string" | "oneOf";
  readonly values?: readonly unknown[];
}

/** Texts whose wording is free. */
const freeWording = new Set(["error", "msg", "user_healthcheck_error", "text", "raw"]);

/** Replaces what differs from one recording to the next, as the recorded answers do. */
export function normalized(value: unknown, addresses: ReadonlyMap<string, string>, key = ""): unknown {
  if (typeof value === "string") {
    let text = value;
    for (const [address, name] of addresses) text = text.replaceAll(address, name);
    if (/^pred_[0-9a-f]+$/.test(text)) return "{{id}}";
    if (/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00$/.test(text)) return "{{time}}";
    if (key === "cog_version") return "{{version}}";
    if (text.length <= 3000) return text;
    const sha256 = createHash("sha256").update(text).digest("hex");
    return { $string: { length: text.length, sha256, head: text.slice(0, 40) } };
  }
  if (typeof value === "number" && key === "predict_time") return "{{seconds}}";
  if (Array.isArray(value)) return value.map((item) => normalized(item, addresses));
  if (typeof value !== "object" || value === null) return value;
  if (key === "version") return "{{version}}";
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, normalized(item, addresses, name)]));
}

/** The differences between a recorded and our answer, one line each. */
export function differences(expected: unknown, actual: unknown, path: string, rules: readonly Rule[]): string[] {
  const rule = rules.find(({ at }) => new RegExp(at).test(path));
  if (rule?.rule === "ignore") return [];
  if (rule?.rule === "string") return typeof actual === "string" ? [] : [`${path}: no text`];
  if (rule?.rule === "oneOf") return rule.values!.includes(actual) ? [] : [`${path}: ${JSON.stringify(actual)}`];
  if (rule?.rule === "set" && Array.isArray(expected) && Array.isArray(actual)) {
    return differences([...expected].sort(), [...actual].sort(), `${path}(set)`, rules);
  }
  if (Array.isArray(expected) && Array.isArray(actual)) {
    if (expected.length !== actual.length) return [`${path}: ${show(expected)} became ${show(actual)}`];
    return expected.flatMap((item, index) => differences(item, actual[index], `${path}.${index}`, rules));
  }
  if (isObject(expected) && isObject(actual)) {
    const keys = new Set([...Object.keys(expected), ...Object.keys(actual)]);
    return [...keys].flatMap((key) => {
      const place = `${path}.${key}`;
      if (rules.some(({ at, rule }) => rule === "ignore" && new RegExp(at).test(place))) return [];
      if (!(key in expected)) return [`${place}: not in the recording: ${show(actual[key])}`];
      if (!(key in actual)) return [`${place}: missing; recorded ${show(expected[key])}`];
      if (freeWording.has(key) && typeof actual[key] === typeof expected[key]) return [];
      return differences(expected[key], actual[key], place, rules);
    });
  }
  if (typeof expected === "string" && typeof actual === "string" && expected.includes("{{tmp}}")) {
    return actual.endsWith(expected.replace("{{tmp}}", ""))
      ? []
      : [`${path}: ${show(expected)} became ${show(actual)}`];
  }
  return Object.is(expected, actual) || expected === actual
    ? []
    : [`${path}: ${show(expected)} became ${show(actual)}`];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "undefined";
  return text.length > 300 ? `${text.slice(0, 300)}…` : text;
}
