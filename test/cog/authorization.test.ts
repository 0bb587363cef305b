import type { IncomingMessage } from "node:http";
import { describe, expect, it } from "vitest";
import { Authorization } from "../../src/cog/http/authorization.ts";

const authorization = new Authorization("t0ken");
const allows = (header: string | undefined) =>
  authorization.allows({ headers: { authorization: header } } as IncomingMessage);

describe("a bearer token", () => {
  it.each(["Bearer t0ken", "bearer   t0ken", "BEARER t0ken "])("is taken in %j", (header) => {
    expect(allows(header)).toBe(true);
  });

  it.each([undefined, "", "t0ken", "Basic t0ken", "Bearer t0ke", "Bearer t0kens", "Bearer t0ken\0", "Bearer T0ken"])(
    "is not in %j",
    (header) => {
      // What a request before it carried is not left over.
      expect(allows("Bearer t0ken")).toBe(true);
      expect(allows(header)).toBe(false);
    },
  );

  it("is compared to its end with what is longer and begins like it", () => {
    expect(allows(`Bearer t0ken${"x".repeat(10_000)}`)).toBe(false);
    expect(allows("Bearer t0ke\0")).toBe(false);
  });
});
