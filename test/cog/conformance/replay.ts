import { setTimeout as sleep } from "node:timers/promises";
import type { ServerProcess } from "../server-process.ts";
import { expectedOf, inFreeOrder, isInOrder } from "./answers.ts";
import type { Case } from "./case.ts";
import { differences } from "./compare.ts";
import { Session, type StartServer } from "./session.ts";

const limitMs = 120_000;

/** Replays one recorded case, against a fresh server or the one given; returns how our answers differ. */
export async function replay(recorded: Case, start: StartServer, lent: ServerProcess | null = null): Promise<string[]> {
  const session = await Session.open(recorded, start, lent);
  const timer = new AbortController();
  try {
    const late = sleep(limitMs, [`the replay took more than ${limitMs / 1000} s`], { signal: timer.signal });
    late.catch(() => {});
    return await Promise.race([play(recorded, session), late]);
  } finally {
    timer.abort();
    await session.end();
  }
}

async function play(recorded: Case, session: Session): Promise<string[]> {
  const found: string[] = [];
  for (const [index, step] of recorded.steps.entries()) {
    const place = `.${index}${step.name ? `-${step.name}` : ""}`;
    const actual = await session.perform(step);
    if (step.answer === undefined || actual === undefined) continue;
    if (actual.deliveries) {
      if (!isInOrder(actual.deliveries)) found.push(`${place}: the webhooks came out of order`);
      actual.deliveries = inFreeOrder(actual.deliveries);
    }
    found.push(...differences(expectedOf(step), session.normalized(actual), place, recorded.compare ?? []));
  }
  return found;
}
