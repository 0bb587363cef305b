import { lookup as lookupAddress } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import { type Dispatcher, request } from "undici";
import { connections } from "../../network/proxy.ts";

/** The address that was checked is the one that is connected to: the check is inside the connection's own lookup. */
function lookupAmong(isAllowed: AddressTest): LookupFunction {
  return (host, options, callback) => {
    lookupAddress(host, { ...options, all: true }, (error, addresses) => {
      if (error) return callback(error, "", 0);
      const bad = addresses.find(({ address }) => !isAllowed(address));
      const first = addresses[0];
      if (bad !== undefined || first === undefined) return callback(refusal(host), "", 0);
      if (options.all) return (callback as unknown as (error: null, all: typeof addresses) => void)(null, addresses);
      callback(null, first.address, first.family);
    });
  };
}

/** What was asked for is not fetched, now or later. */
export class RefusedUrl extends Error {}

function refusal(host: string): RefusedUrl {
  return new RefusedUrl(`${host} is not a public address; the server reaches it with COG_ALLOW_PRIVATE_NETWORK=1`);
}

export type AddressTest = (address: string) => boolean;

export const anywhere: AddressTest = () => true;

export type Fetch = (url: string, options: FetchOptions) => Promise<FetchResult>;

export interface FetchOptions {
  readonly method: "GET" | "POST" | "PUT";
  readonly headers: Record<string, string>;
  readonly body?: string | Buffer;
  readonly signal?: AbortSignal | undefined;
}

export interface FetchResult {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  /** After redirects. */
  readonly url: string;
  readonly body: Dispatcher.ResponseData["body"];
}

const mostRedirects = 10;
/** To the first byte and between bytes. */
const silenceMs = 10_000;

export interface FetchRules {
  readonly isAllowed: AddressTest;
  /** Names the proxies. */
  readonly env: NodeJS.ProcessEnv;
  /** The host of the address itself may be anywhere; where it redirects to is checked as ever. */
  readonly trustsNamed?: boolean;
  readonly silenceMs?: number;
}

/**
 * Requests to addresses that a client named. Redirects are followed here, so that each target is checked. A name that a
 * proxy resolves is left to the proxy; an address in digits is checked in any case.
 * Throws for other schemes, refused addresses and all that goes wrong on the wire.
 */
export function createFetch(rules: FetchRules): Fetch & { close(): void } {
  const { isAllowed, env, trustsNamed = false, silenceMs: limit = silenceMs } = rules;
  const agentFor = (test: AddressTest) =>
    connections(env, {
      connect: { timeout: limit, lookup: lookupAmong(test) },
      headersTimeout: limit,
      bodyTimeout: limit,
      pipelining: 1,
    });
  const agent = agentFor(isAllowed);
  const trusting = trustsNamed ? agentFor(anywhere) : agent;
  const fetch: Fetch = async (address, { method, headers, body, signal }) => {
    const named = checked(address, trustsNamed ? anywhere : isAllowed);
    const isTrusted = (url: URL) => trustsNamed && url.hostname === named.hostname;
    let url = named;
    let sent = headers;
    let verb = method;
    let content = body;
    for (let hop = 0; ; hop++) {
      const answer = await request(url, {
        method: verb,
        headers: sent,
        body: content ?? null,
        dispatcher: isTrusted(url) ? trusting : agent,
        signal: signal ?? null,
      });
      const location = answer.headers.location;
      if (![301, 302, 303, 307, 308].includes(answer.statusCode) || typeof location !== "string") {
        return { status: answer.statusCode, headers: answer.headers, url: url.href, body: answer.body };
      }
      await answer.body.dump();
      if (hop === mostRedirects) throw new Error("too many redirects");
      const target = new URL(location, url);
      const next = checked(target.href, isTrusted(target) ? anywhere : isAllowed);
      // A token is meant for the address that was named, and for no other.
      sent = without(sent, "authorization");
      if (verb === "POST" && answer.statusCode < 307) {
        verb = "GET";
        content = undefined;
        sent = without(sent, "content-type");
      }
      url = next;
    }
  };
  const close = () => {
    for (const dispatcher of new Set([agent, trusting])) void dispatcher.destroy().catch(() => {});
  };
  return Object.assign(fetch, { close });
}

function checked(address: string, isAllowed: AddressTest): URL {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (url === null) throw new RefusedUrl("it is not a URL");
  if (url.protocol !== "http:" && url.protocol !== "https:")
    throw new RefusedUrl(`${url.protocol} URLs are not fetched`);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  // Such a host is connected to without a lookup.
  if (isIP(host) !== 0 && !isAllowed(host)) throw refusal(host);
  return url;
}

function without(headers: Record<string, string>, name: string): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter(([key]) => key.toLowerCase() !== name));
}
