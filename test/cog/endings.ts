import { setTimeout as sleep } from "node:timers/promises";
import { Receiver } from "./receiver.ts";
import type { ServerProcess } from "./server-process.ts";

type Json = Record<string, unknown>;

/** Where files come from and go to; the name says what happens to one: refused, reset, slow, hang. */
export function startDesk(): Promise<Receiver> {
  return Receiver.start(({ path }) => {
    const is = (what: string) => path.includes(what);
    if (is("reset")) return { instead: "reset" };
    if (is("hang")) return { instead: "hang" };
    return { status: is("refused") ? 500 : 200, delayMs: is("slow") ? 1000 : 0 };
  });
}

/** Of what is waited for: a machine that is busy is no failure. */
const limitMs = 60_000;

/** Unlike expect.poll it may be used by tests that run at the same time. */
export async function until(test: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + limitMs;
  while (!(await test())) {
    if (performance.now() > end) throw new Error("it was waited for in vain");
    await sleep(20);
  }
}

/** The runs of one family, on a server of the fixture `endings`. */
export class Runs {
  readonly #server: ServerProcess;
  readonly #desk: Receiver;
  readonly #path: string;

  constructor(server: ServerProcess, desk: Receiver, family: "predictions" | "trainings") {
    this.#server = server;
    this.#desk = desk;
    this.#path = `/${family}`;
  }

  async request(method: string, path: string, body?: object, headers: Record<string, string> = {}): Promise<Json> {
    const response = await fetch(this.#server.url + path, {
      method,
      headers: { "content-type": "application/json", ...headers },
      body: body === undefined ? null : JSON.stringify(body),
    });
    return { http: response.status, ...((await response.json()) as Json) };
  }

  post(input: object): Promise<Json> {
    return this.request("POST", this.#path, { input });
  }

  start(id: string, input: object): Promise<Json> {
    return this.request("PUT", `${this.#path}/${id}`, { input }, { prefer: "respond-async" });
  }

  read(id: string): Promise<Json> {
    return this.request("GET", `${this.#path}/${id}`);
  }

  cancel(id: string): Promise<Json> {
    return this.request("POST", `${this.#path}/${id}/cancel`);
  }

  async over(id: string): Promise<Json> {
    await until(async () => /succeeded|failed|canceled/.test(String((await this.read(id)).status)));
    return this.read(id);
  }

  async running(id: string): Promise<void> {
    await until(async () => (await this.read(id)).status === "processing");
  }

  /** The desk has been asked for this file, or given it. */
  async atDesk(name: string, count = 1): Promise<void> {
    await until(async () => this.#desk.received.filter(({ path }) => path.includes(name)).length >= count);
  }

  /** The process that runs them, of the last setup; 0: there was none. */
  get pid(): number {
    const family = this.#path.slice(1);
    return Number(
      [...this.#server.log().matchAll(new RegExp(`process (\\d+) is set up for ${family}`, "g"))].at(-1)?.[1] ?? 0,
    );
  }

  slotsInUse(): Promise<number> {
    return this.#metric("cog_slots_in_use");
  }

  deaths(): Promise<number> {
    return this.#metric("cog_worker_deaths_total");
  }

  /** Of the server's own model. */
  async #metric(name: string): Promise<number> {
    const text = await (await fetch(`${this.#server.url}/metrics`)).text();
    return Number(new RegExp(`^${name} (\\d+)$`, "m").exec(text)![1]);
  }
}
