import type { LookupAddress } from "node:dns";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { createFetch, RefusedUrl } from "../../src/cog/files/network.ts";
import { isPublicAddress } from "../../src/cog/files/public-address.ts";
import { Receiver } from "./receiver.ts";

/** What the name service answers for names under .test, one list of addresses a time. */
const named = new Map<string, string[][]>();
let lookups = 0;
vi.mock("node:dns", async (original) => {
  const real = await original<typeof import("node:dns")>();
  type Done = (error: Error | null, addresses: LookupAddress[]) => void;
  const lookup = (host: string, options: object, done: Done) => {
    const answers = named.get(host);
    if (answers === undefined) return real.lookup(host, { ...options, all: true }, done);
    lookups += 1;
    const addresses = answers.length > 1 ? answers.shift()! : answers[0]!;
    const found = addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));
    setImmediate(() => done(null, found));
  };
  return { ...real, lookup };
});

const refusing = createFetch({ isAllowed: isPublicAddress, env: {} });
afterAll(() => refusing.close());

describe("addresses that a client names", () => {
  it.each([
    "http://127.0.0.1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://0.0.0.0/",
    "http://localhost/",
    "http://[::1]/",
    "http://[::]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://[fe80::1]/",
    "http://[fc00::1]/",
    "http://[fd00:ec2::254]/",
    "http://[fec0::1]/",
    "http://[ff02::1]/",
    "http://[fe00::1]/",
    "http://[3fff::1]/",
    "http://[100::1]/",
    "http://[2001:2::1]/",
    "http://[2001:10::1]/",
    "http://[2001:20::1]/",
    "http://[2001:db8::1]/",
    "http://[5f00::1]/",
    "http://[4000::1]/",
    "http://[8000::1]/",
    "http://[c000::1]/",
    "http://169.254.169.254/latest/meta-data/",
    "http://2852039166/latest/meta-data/",
    "http://100.64.0.1/",
    "http://10.1.2.3/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://255.255.255.255/",
    "http://user:password@127.0.0.1/",
    "http://example.com@127.0.0.1/",
  ])("%s is refused", async (url) => {
    await expect(refusing(url, { method: "GET", headers: {} })).rejects.toThrow(/is not a public address/);
  });

  it.each(["file:///etc/passwd", "ftp://example.com/", "data:,x", "gopher://127.0.0.1/"])(
    "%s is no URL for it",
    (url) => expect(refusing(url, { method: "GET", headers: {} })).rejects.toThrow(/URLs are not fetched/),
  );

  it.each(["8.8.8.8", "172.32.0.1", "169.253.0.1", "2606:4700::1111", "2001:200::1", "2a00::1", "::ffff:8.8.8.8"])(
    "%s is public",
    (address) => {
      expect(isPublicAddress(address)).toBe(true);
    },
  );
});

describe("a name", () => {
  afterEach(() => named.clear());

  it.each([
    ["that means an address inside", ["10.0.0.1"]],
    ["that also means an address inside", ["8.8.8.8", "169.254.169.254"]],
    ["that also means one in IPv6", ["8.8.8.8", "fd00:ec2::254"]],
  ])("%s is refused", async (_, addresses) => {
    named.set("inside.test", [addresses]);
    const answer = refusing("http://inside.test/", { method: "GET", headers: {} });
    await expect(answer).rejects.toThrow("inside.test is not a public address");
    await expect(refusing("http://inside.test/", { method: "GET", headers: {} })).rejects.toBeInstanceOf(RefusedUrl);
  });
});

/** One address of this machine is allowed: a private network that can be stepped into from it. */
const isAllowed = (address: string) => address === "127.0.0.2";
// Only Linux answers on the whole of 127.0.0.0/8.
describe.skipIf(process.platform !== "linux")("the way inside", () => {
  const fetch = createFetch({ isAllowed, env: {} });
  const open: Receiver[] = [];
  afterEach(() => open.splice(0).map((receiver) => receiver.close()));
  afterAll(() => fetch.close());
  const start = async (answer: Parameters<typeof Receiver.start>[0], host?: string) => {
    const receiver = await Receiver.start(answer, host);
    open.push(receiver);
    return receiver;
  };

  it.each(["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433"])(
    "by a redirect to %s is refused",
    async (host) => {
      const inside = await start(() => ({ body: "inside" }));
      const location = inside.url.replace("127.0.0.1", host);
      const outside = await start(() => ({ status: 302, headers: { location } }), "127.0.0.2");
      const answer = fetch(outside.url, { method: "GET", headers: {} });
      await expect(answer).rejects.toThrow(/is not a public address/);
      expect(inside.received).toHaveLength(0);
    },
  );

  it("by a name that changes is closed: it is resolved once, and that address connected to", async () => {
    const inside = await start(() => ({ body: "inside" }));
    const { port } = new URL(inside.url);
    named.set("changing.test", [["127.0.0.2"], ["127.0.0.1"]]);
    lookups = 0;
    // Nobody listens at this port of the allowed address: a second look at the name would have found the one inside.
    const answer = fetch(`http://changing.test:${port}/`, { method: "GET", headers: {} });
    await expect(answer).rejects.toMatchObject({ code: "ECONNREFUSED", address: "127.0.0.2" });
    expect(lookups).toBe(1);
    expect(inside.received).toHaveLength(0);
  });

  it("takes no token along a redirect, not even to the same origin", async () => {
    const receiver = await start(
      ({ path }) => (path === "/" ? { status: 307, headers: { location: "/next" } } : {}),
      "127.0.0.2",
    );
    const headers = { authorization: "Bearer t0ken", "content-type": "application/json" };
    const answer = await fetch(receiver.url, { method: "POST", headers, body: "{}" });
    await answer.body.dump();
    expect(
      receiver.received.map(({ path, method, headers: { authorization } }) => [path, method, authorization]),
    ).toEqual([
      ["/", "POST", "Bearer t0ken"],
      ["/next", "POST", undefined],
    ]);
  });

  it("that goes in a circle ends", async () => {
    const receiver = await start(() => ({ status: 302, headers: { location: "/" } }), "127.0.0.2");
    await expect(fetch(receiver.url, { method: "GET", headers: {} })).rejects.toThrow("too many redirects");
    expect(receiver.received.length).toBeLessThan(20);
  });
});
