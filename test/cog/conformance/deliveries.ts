import type { Received, Receiver, ScriptedAnswer } from "../receiver.ts";
import { parsed } from "./answers.ts";
import type { Json } from "./case.ts";

/** Answers in the order of a script, the last one repeating. */
export function scriptFor(script: Json): (request: Received, index: number) => ScriptedAnswer {
  let used = 0;
  return (request) => {
    if (script?.answers === undefined) return {};
    if (script.only === "completed" && !isTerminal(request)) return {};
    if (script.only === "start" && isTerminal(request)) return {};
    const answer = script.answers[Math.min(used, script.answers.length - 1)];
    used += 1;
    return answer;
  };
}

/** Is this the webhook that tells how a run ended? */
export function isTerminal({ body }: Received): boolean {
  return ["succeeded", "failed", "canceled"].includes((parsed(body.toString()) as Json)?.status);
}

/** What a helper was sent, with the headers that the recording has, or that a step to be recorded asks for. */
export function requestsOf(receiver: Receiver, step: Json, key: string, sorted = true): Json[] {
  const expected: Json[] = step.answer?.[key] ?? [];
  const wanted = new Set([
    ...expected.flatMap((request) => Object.keys(request.headers ?? {})),
    ...(step.recordHeaders ?? []),
  ]);
  const requests = receiver.received.map(({ method, path, headers, body }) => ({
    method,
    path,
    headers: Object.fromEntries([...wanted].map((name) => [name, headers[name] ?? null])),
    body: body.toString(),
  }));
  return sorted ? requests.sort((a, b) => (a.path < b.path ? -1 : 1)) : requests;
}
