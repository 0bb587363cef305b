import { CodedError } from "../errors/index.ts";
import { defaultLeastSpeed } from "../network/download-limits.ts";
import { largestBody, smallBody } from "./http/body.ts";
import { defaultConnections, mostConnections } from "./http/connection-limit.ts";
import type { LogLevel, LogSettings } from "./log.ts";
import { isWhole, Variables } from "./variables.ts";

/** What the environment says; read once at start. docs/operate.md and docs/secure.md describe every variable. */
export interface Settings {
  /** PORT */
  readonly port: number;
  readonly log: LogSettings;
  /** COG_MAX_CONCURRENCY; null: cog.yaml or the predictor decides. */
  readonly maxConcurrency: number | null;
  /** COG_SETUP_TIMEOUT in milliseconds; null: no limit. */
  readonly setupTimeoutMs: number | null;
  readonly weights: string | null;
  /** COG_STREAM_HISTORY_CAPACITY: events kept per run for late subscribers. */
  readonly streamHistory: number;
  /** COG_THROTTLE_RESPONSE_INTERVAL in milliseconds. */
  readonly webhookIntervalMs: number;
  readonly webhookToken: string | null;
  /** COG_MAX_WEBHOOKS: webhook requests under way at a time. */
  readonly maxWebhooks: number;
  /** COG_WEBHOOK_MEMORY: bytes of webhook events that wait or are under way. */
  readonly webhookMemory: number;
  /** COG_USER_AGENT, for downloads. */
  readonly userAgent: string | null;
  /** COG_HEARTBEAT_TIMEOUT in milliseconds: after which a model's process that is not heard of is stopped or frozen. */
  readonly heartbeatLimitMs: number;
  /** COG_MAX_DOWNLOAD_BYTES */
  readonly maxDownloadBytes: number;
  /** COG_MIN_DOWNLOAD_SPEED in bytes per second; 0: any. */
  readonly leastDownloadSpeed: number;
  /** COG_BODY_MEMORY: bytes of large bodies that are on their way or being read at a time. */
  readonly bodyMemory: number;
  /** COG_ANSWER_MEMORY: bytes of answers that clients have not taken yet. */
  readonly answerMemory: number;
  /** COG_MAX_INPUT_BYTES: of one body beside its files. */
  readonly maxInputBytes: number;
  /** COG_ALLOW_PRIVATE_NETWORK=1: input files and webhooks may be on private addresses. */
  readonly allowPrivateNetwork: boolean;
  /** COG_SHUTDOWN_GRACE in milliseconds; null: runs may finish without limit. */
  readonly shutdownGraceMs: number | null;
  /** COG_CANCEL_GRACE in milliseconds: how long a canceled run may take to end before it is reported without it. */
  readonly cancelGraceMs: number;
  readonly isKubernetes: boolean;
  /** COG_QUEUE_LENGTH: runs that may wait for a slot; 0: a full server answers 409, as Cog. */
  readonly queueLength: number;
  /** COG_AUTH_TOKEN: what requests other than probes must carry as bearer token; null: nothing. */
  readonly authToken: string | null;
  /** WEBHOOK_ALLOWED_ORIGINS: where the webhook token may go; null: to every webhook's own origin. */
  readonly webhookOrigins: ReadonlySet<string> | null;
  /** COG_MAX_CONNECTIONS: connections that clients may have open. */
  readonly maxConnections: number;
  /** COG_HEADER_TIMEOUT in milliseconds: until a request's headers are complete. */
  readonly headerTimeoutMs: number;
  /** COG_CLIENT_TIMEOUT in milliseconds: of silence while a body is sent or an answer taken. */
  readonly clientTimeoutMs: number;
  /** For the log: what was read in Cog's lenient way, and what an operator should know. */
  readonly warnings: readonly string[];
}

/** @throws CodedError SERVER_SETTINGS naming every variable that cannot be read */
export function readSettings(env: NodeJS.ProcessEnv): Settings {
  const from = new Variables(env);
  const warnings: string[] = [];
  const settings: Settings = {
    port: from.whole("PORT", 0, 65_535) ?? 5000,
    log: {
      level: rustLogLevel(from.text("RUST_LOG")) ?? logLevel(from.choice("COG_LOG_LEVEL", levelNames) ?? "info"),
      format: from.choice("LOG_FORMAT", ["json", "console"]) ?? "json",
    },
    maxConcurrency: concurrency(from.text("COG_MAX_CONCURRENCY"), warnings),
    setupTimeoutMs: setupTimeout(from.text("COG_SETUP_TIMEOUT"), warnings),
    weights: from.text("COG_WEIGHTS"),
    streamHistory: from.whole("COG_STREAM_HISTORY_CAPACITY", 0) ?? 1024,
    webhookIntervalMs: from.seconds("COG_THROTTLE_RESPONSE_INTERVAL") ?? 500,
    webhookToken: from.headerText("WEBHOOK_AUTH_TOKEN", { isSecret: true }),
    maxWebhooks: from.whole("COG_MAX_WEBHOOKS", 1, 10_000) ?? 100,
    webhookMemory: from.whole("COG_WEBHOOK_MEMORY", 1024 ** 2) ?? 64 * 1024 ** 2,
    userAgent: from.headerText("COG_USER_AGENT"),
    maxDownloadBytes: from.whole("COG_MAX_DOWNLOAD_BYTES", 1) ?? 64 * 1024 ** 3,
    leastDownloadSpeed: from.whole("COG_MIN_DOWNLOAD_SPEED", 0) ?? defaultLeastSpeed,
    bodyMemory: from.whole("COG_BODY_MEMORY", largestBody) ?? 256 * 1024 ** 2,
    answerMemory: from.whole("COG_ANSWER_MEMORY", 1024 ** 2) ?? 256 * 1024 ** 2,
    maxInputBytes: from.whole("COG_MAX_INPUT_BYTES", smallBody, largestBody) ?? 8 * 1024 ** 2,
    allowPrivateNetwork: from.flag("COG_ALLOW_PRIVATE_NETWORK"),
    shutdownGraceMs: from.seconds("COG_SHUTDOWN_GRACE"),
    cancelGraceMs: from.seconds("COG_CANCEL_GRACE") ?? 5000,
    queueLength: from.whole("COG_QUEUE_LENGTH", 0, 10_000) ?? 0,
    authToken: from.headerText("COG_AUTH_TOKEN", { isSecret: true }),
    webhookOrigins: origins(from),
    maxConnections:
      from.whole("COG_MAX_CONNECTIONS", 1, mostConnections(), "`ulimit -n` less 64") ?? defaultConnections(),
    headerTimeoutMs: from.seconds("COG_HEADER_TIMEOUT", shortestTimeout) ?? 30_000,
    clientTimeoutMs: from.seconds("COG_CLIENT_TIMEOUT", shortestTimeout) ?? 60_000,
    heartbeatLimitMs: from.seconds("COG_HEARTBEAT_TIMEOUT", 0.5) ?? 5000,
    isKubernetes: env.KUBERNETES_SERVICE_HOST !== undefined,
    warnings,
  };
  // Whoever sets it to nothing, such as a secret that is not there, must not get an open server.
  if (env.COG_AUTH_TOKEN === "") from.problems.push("COG_AUTH_TOKEN is empty: give it a value or unset it");
  if (settings.webhookToken !== null && settings.webhookOrigins === null) {
    warnings.push(
      "WEBHOOK_AUTH_TOKEN goes to every webhook that a client names: limit it with WEBHOOK_ALLOWED_ORIGINS",
    );
  }
  if (from.problems.length > 0) {
    throw new CodedError("SERVER_SETTINGS", from.problems.join("; "), {
      hint: "correct or unset what is named; docs/operate.md lists every variable",
    });
  }
  return settings;
}

/** Seconds. */
const shortestTimeout = 0.1;
const levelNames = ["debug", "info", "warn", "warning", "error"] as const;

function logLevel(name: (typeof levelNames)[number]): LogLevel {
  return name === "warning" ? "warn" : name;
}

/** The last level for everything; other items name modules, and those are of other programs. */
function rustLogLevel(text: string | null): LogLevel | "off" | null {
  const known = new Map<string, LogLevel | "off">([
    ["off", "off"],
    ["trace", "debug"],
  ]);
  for (const name of levelNames) known.set(name, logLevel(name));
  const items = (text ?? "")
    .toLowerCase()
    .split(",")
    .map((item) => known.get(item.trim()));
  return items.findLast((level) => level !== undefined) ?? null;
}

function origins(from: Variables): ReadonlySet<string> | null {
  const text = from.text("WEBHOOK_ALLOWED_ORIGINS");
  if (text === null || text.trim() === "") return null;
  const known = new Set<string>();
  for (const item of text.split(",").map((part) => part.trim())) {
    const origin = originOf(item);
    if (origin !== null && new URL(item).href === `${origin}/`) known.add(origin);
    else from.problems.push(`WEBHOOK_ALLOWED_ORIGINS: "${item}" must be an origin such as https://example.com`);
  }
  return known;
}

/** "https://example.com:8443"; null where the text is no http or https URL. */
export function originOf(text: string): string | null {
  const url = URL.canParse(text) ? new URL(text) : null;
  return url?.protocol === "http:" || url?.protocol === "https:" ? url.origin : null;
}

/** As Cog: one slot where the value is no positive integer. */
function concurrency(text: string | null, warnings: string[]): number | null {
  if (text === null) return null;
  if (isWhole(text, 1, Number.MAX_SAFE_INTEGER)) return Number(text);
  warnings.push(`COG_MAX_CONCURRENCY=${JSON.stringify(text)} is no positive integer: 1 is used, as by Cog`);
  return 1;
}

/** As Cog: no limit where the value is 0, or no number of whole seconds. */
function setupTimeout(text: string | null, warnings: string[]): number | null {
  if (text === null || text === "0") return null;
  if (isWhole(text, 1, 2_147_483)) return Number(text) * 1000;
  warnings.push(
    `COG_SETUP_TIMEOUT=${JSON.stringify(text)} is no number of whole seconds up to 2147483: there is no limit, as with Cog`,
  );
  return null;
}
