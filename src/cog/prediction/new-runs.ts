import { temporaryPath } from "../../temporary/folders.ts";
import type { LocalFiles } from "../files/local-files.ts";
import { anywhere, createFetch } from "../files/network.ts";
import { isPublicAddress } from "../files/public-address.ts";
import type { Uploads } from "../files/uploads.ts";
import type { Log } from "../log.ts";
import { originOf, type Settings } from "../settings.ts";
import { EventStream } from "./event-stream.ts";
import { logFieldsOf } from "./log-fields.ts";
import { Run } from "./run.ts";
import type { Family, RunOptions } from "./run-options.ts";
import { Webhook, type WebhookEvent } from "./webhook.ts";
import { WebhookRoom } from "./webhook-room.ts";

/** A request that has passed all checks but those of readiness and capacity. */
export interface RunRequest {
  readonly id: string | null;
  readonly input: Readonly<Record<string, unknown>>;
  /** Bytes of the request, without those of files. */
  readonly size: number;
  /** Files that came inside the request, and the folder they lie in, which the run removes. */
  readonly files: { readonly folder: string; readonly uploads: Uploads } | null;
  readonly context: Readonly<Record<string, string>>;
  readonly webhook: string | null;
  readonly webhookEvents: ReadonlySet<WebhookEvent>;
  /** Passed on to the webhook. */
  readonly traceHeaders: Readonly<Record<string, string>>;
}

interface Options {
  readonly settings: Settings;
  readonly uploadUrl: string | null;
  readonly userAgent: string;
  readonly env: NodeJS.ProcessEnv;
  readonly log: Log;
  readonly localFiles: LocalFiles | null;
}

/** What the model says of its runs. */
type Declared = Pick<RunOptions, "schema" | "isArrayOutput" | "onEnd"> & { readonly isStreamed: boolean };

/** Turns requests into runs: an id, a folder, ways to the network, a webhook. */
export class NewRuns {
  readonly #options: Options;
  readonly #inputFetch;
  readonly #local;
  readonly #outputFetch;
  readonly #webhookFetch;
  readonly #folders = temporaryPath("run");
  readonly #webhookRoom: WebhookRoom;
  #count = 0;
  #lastId = 0n;

  constructor(options: Options) {
    this.#options = options;
    const { env, localFiles, settings } = options;
    this.#webhookRoom = new WebhookRoom({ requests: settings.maxWebhooks, bytes: settings.webhookMemory });
    const isAllowed = settings.allowPrivateNetwork ? anywhere : isPublicAddress;
    this.#inputFetch = createFetch({ isAllowed, env });
    // Whoever typed an address at this machine is its operator.
    this.#local = localFiles && { files: localFiles, fetch: createFetch({ isAllowed, env, trustsNamed: true }) };
    // Where outputs go is the operator's choice, so it may well be inside their network.
    this.#outputFetch = createFetch({ isAllowed: anywhere, env, silenceMs: 25_000 });
    this.#webhookFetch = createFetch({ isAllowed, env, silenceMs: 30_000 });
  }

  make(family: Family, request: RunRequest, declared: Declared): Run {
    const { settings, uploadUrl, log } = this.#options;
    const { traceparent } = request.traceHeaders;
    this.#count += 1;
    const id = request.id ?? this.#newId();
    return new Run({
      id,
      number: this.#count,
      family,
      input: request.input,
      size: request.size,
      uploads: request.files?.uploads ?? {},
      context: request.context,
      schema: declared.schema,
      isArrayOutput: declared.isArrayOutput,
      stream: declared.isStreamed ? new EventStream(settings.streamHistory) : null,
      webhook: request.webhook === null ? null : this.#webhook(request.webhook, id, request),
      folder: request.files?.folder ?? `${this.#folders}-${this.#count}`,
      uploadUrl,
      inputFetch: this.#inputFetch,
      local: this.#local,
      outputFetch: this.#outputFetch,
      userAgent: settings.userAgent,
      maxDownloadBytes: settings.maxDownloadBytes,
      leastDownloadSpeed: settings.leastDownloadSpeed,
      log,
      traceparent,
      onEnd: declared.onEnd,
    });
  }

  /** Closes the connections that are kept. */
  close(): void {
    for (const fetch of [this.#inputFetch, this.#local?.fetch, this.#outputFetch, this.#webhookFetch]) fetch?.close();
  }

  #webhook(url: string, id: string, request: RunRequest): Webhook {
    const { settings, userAgent, log } = this.#options;
    const { webhookToken, webhookOrigins } = settings;
    const hasToken = webhookToken !== null && (webhookOrigins === null || webhookOrigins.has(originOf(url) ?? ""));
    return new Webhook({
      url,
      events: request.webhookEvents,
      intervalMs: settings.webhookIntervalMs,
      headers: {
        "user-agent": userAgent,
        ...(hasToken ? { authorization: `Bearer ${webhookToken}` } : {}),
        ...request.traceHeaders,
      },
      fetch: this.#webhookFetch,
      log,
      logFields: logFieldsOf(id, request.traceHeaders.traceparent),
      room: this.#webhookRoom,
    });
  }

  /** "pred_" and the clock in nanoseconds, as Cog makes them; never the same twice. */
  #newId(): string {
    const now = BigInt(Date.now()) * 1_000_000n;
    this.#lastId = now > this.#lastId ? now : this.#lastId + 1n;
    return `pred_${this.#lastId.toString(16)}`;
  }
}
