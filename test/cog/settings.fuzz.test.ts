import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readSettings } from "../../src/cog/settings.ts";
import { isCodedError } from "../../src/errors/index.ts";
import { bounded, expectLinear, soup, valueOrCode } from "../fuzzing.ts";

const numbers = `PORT COG_MAX_CONCURRENCY COG_SETUP_TIMEOUT COG_STREAM_HISTORY_CAPACITY COG_THROTTLE_RESPONSE_INTERVAL
  COG_MAX_DOWNLOAD_BYTES COG_BODY_MEMORY COG_MAX_INPUT_BYTES COG_SHUTDOWN_GRACE COG_QUEUE_LENGTH COG_MAX_CONNECTIONS
  COG_HEADER_TIMEOUT COG_CLIENT_TIMEOUT COG_MAX_WEBHOOKS COG_WEBHOOK_MEMORY`.split(/\s+/);
const texts =
  `RUST_LOG COG_LOG_LEVEL LOG_FORMAT COG_WEIGHTS COG_USER_AGENT COG_ALLOW_PRIVATE_NETWORK WEBHOOK_ALLOWED_ORIGINS`.split(
    /\s+/,
  );
const secrets = ["WEBHOOK_AUTH_TOKEN", "COG_AUTH_TOKEN"];
const text = fc.oneof(
  soup(
    ["0", "1", "9", "-", ".", "e", "+", " ", ",", "https://a.example", ":", "/", "debug", "off", "\n", "\0", "0x"],
    8,
  ),
  fc.nat().map(String),
);
const token = fc.string({ minLength: 12, unit: "binary" });
const variables = fc.record(
  {
    ...Object.fromEntries([...numbers, ...texts].map((name) => [name, text])),
    ...Object.fromEntries(secrets.map((name) => [name, token])),
  },
  { requiredKeys: [] },
);

describe("whatever the environment says, the settings", () => {
  it("are all within their limits, or SERVER_SETTINGS, which shows no secret", async () => {
    const property = fc.asyncProperty(variables, async (env: NodeJS.ProcessEnv) => {
      const settings = await valueOrCode(() => readSettings(env), "SERVER_SETTINGS");
      if (isCodedError(settings)) {
        for (const name of secrets) if (env[name]) expect(settings.message).not.toContain(env[name]);
        return;
      }
      for (const value of Object.values(settings)) {
        if (typeof value === "number") expect(Number.isSafeInteger(value) && value >= 0).toBe(true);
      }
      for (const name of secrets) if (env[name]) expect(env[name]).toMatch(/^[\x20-\x7e]+$/);
    });
    await fc.assert(property, bounded);
  });

  it.each([
    ["COG_QUEUE_LENGTH", (n: number) => "9".repeat(n)],
    ["COG_QUEUE_LENGTH", (n: number) => " ".repeat(n)],
    ["WEBHOOK_ALLOWED_ORIGINS", (n: number) => "https://a.example,".repeat(n / 18)],
    ["RUST_LOG", (n: number) => "debug,".repeat(n / 6)],
  ])("cost time and memory in proportion to the length of %s", async (name, input) => {
    await expectLinear(input, (value: string) => valueOrCode(() => readSettings({ [name]: value }), "SERVER_SETTINGS"));
  });

  it.each(numbers.filter((name) => !["COG_MAX_CONCURRENCY", "COG_SETUP_TIMEOUT"].includes(name)))(
    "name %s where it is no number",
    (name) => {
      const property = fc.property(text, (value) => {
        fc.pre(value !== "" && !/^[\d.]+$/.test(value));
        expect(() => readSettings({ [name]: value })).toThrow(name);
      });
      fc.assert(property, { ...bounded, numRuns: 50 });
    },
  );
});
