import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readEnvelope } from "../../src/cog/http/envelope.ts";
import { webhookEvents } from "../../src/cog/prediction/webhook.ts";
import { bounded, expectLinear, soup } from "../fuzzing.ts";

const marker = "correct horse battery staple";
const value = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(marker, null, {}, { token: marker }, [marker]),
  fc.constantFrom(...webhookEvents).map((event) => [event]),
);
const known = fc.constantFrom(
  "id",
  "input",
  "context",
  "webhook",
  "webhook_events_filter",
  "__proto__",
  "constructor",
  marker,
);
const member = fc.tuple(known, value).map(([key, item]) => `${JSON.stringify(key)}:${JSON.stringify(item)}`);
const object = fc.array(member, { maxLength: 6 }).map((members) => `{${members.join(",")}}`);
const body = fc.oneof({ weight: 4, arbitrary: object }, fc.json(), soup([...'{}[],:"', "id", "input", marker]));

describe("whatever a request's body says, its envelope", () => {
  it("is whole, or refused with a status and without a word of the body", () => {
    const property = fc.property(body, (text) => {
      const envelope = readEnvelope(Buffer.from(text));
      if ("status" in envelope) {
        expect([400, 422]).toContain(envelope.status);
        expect(envelope.text).not.toContain(marker);
        expect(envelope.text.length).toBeLessThan(200);
        return;
      }
      for (const item of [envelope.id, envelope.webhook]) expect(item === null || typeof item === "string").toBe(true);
      for (const item of Object.values(envelope.context)) expect(typeof item).toBe("string");
      for (const event of envelope.webhookEvents) expect(webhookEvents).toContain(event);
      expect(Object.getPrototypeOf({})).toBe(Object.prototype);
      const given = JSON.parse(text) as Record<string, unknown>;
      const own = (key: string) => (Object.hasOwn(given, key) ? given[key] : null);
      expect(envelope.id).toEqual(own("id"));
      expect(envelope.input).toEqual(own("input") ?? {});
      expect(envelope.webhook).toEqual(own("webhook"));
    });
    fc.assert(property, { ...bounded, numRuns: 1000 });
  });

  it.each([
    ["events", (n: number) => `{"webhook_events_filter":[${'"start",'.repeat(n / 8)}"x"]}`],
    [
      "keys of the context",
      (n: number) => `{"context":{${Array.from({ length: n / 32 }, (_, i) => `"key number ${i}":"value of it"`)}}}`,
    ],
    [
      "keys beside the known ones",
      (n: number) => `{${Array.from({ length: n / 32 }, (_, i) => `"key number ${i}":"value of it"`)}}`,
    ],
  ])("costs time and memory in proportion to its length: %s", async (_, input) => {
    await expectLinear(input, (text: string) => readEnvelope(Buffer.from(text)));
  });
});
