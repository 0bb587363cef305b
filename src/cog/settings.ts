/** What the environment says (spec 15); read once at start. */
export interface Settings {
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
  /** COG_USER_AGENT, for downloads. */
  readonly userAgent: string | null;
  /** COG_MAX_DOWNLOAD_BYTES */
  readonly maxDownloadBytes: number;
  /** COG_ALLOW_PRIVATE_NETWORK=1: input files and webhooks may be on private addresses. */
  readonly allowPrivateNetwork: boolean;
  /** COG_SHUTDOWN_GRACE in milliseconds; null: runs may finish without limit. */
  readonly shutdownGraceMs: number | null;
  readonly isKubernetes: boolean;
  /** COG_QUEUE_LENGTH: runs that may wait for a slot; 0: a full server answers 409, as Cog. */
  readonly queueLength: number;
  /** COG_AUTH_TOKEN: what requests other than probes must carry as bearer token; null: nothing. */
  readonly authToken: string | null;
  /** WEBHOOK_ALLOWED_ORIGINS: where the webhook token may go; null: to every webhook's own origin. */
  readonly webhookOrigins: ReadonlySet<string> | null;
}

const longestQueue = 10_000;

/** Values that make no sense fall back to the default, as Cog does; `warn` hears of those that matter. */
export function readSettings(env: NodeJS.ProcessEnv, warn: (message: string) => void): Settings {
  return {
    maxConcurrency: concurrency(env.COG_MAX_CONCURRENCY, warn),
    setupTimeoutMs: seconds(env.COG_SETUP_TIMEOUT, /^\d+$/) || null,
    weights: env.COG_WEIGHTS || null,
    streamHistory: whole(env.COG_STREAM_HISTORY_CAPACITY) ?? 1024,
    webhookIntervalMs: seconds(env.COG_THROTTLE_RESPONSE_INTERVAL, /^\d*\.?\d+$/) ?? 500,
    webhookToken: env.WEBHOOK_AUTH_TOKEN || null,
    userAgent: env.COG_USER_AGENT || null,
    maxDownloadBytes: whole(env.COG_MAX_DOWNLOAD_BYTES) ?? 64 * 1024 ** 3,
    allowPrivateNetwork: env.COG_ALLOW_PRIVATE_NETWORK === "1",
    shutdownGraceMs: seconds(env.COG_SHUTDOWN_GRACE, /^\d*\.?\d+$/),
    queueLength: Math.min(whole(env.COG_QUEUE_LENGTH) ?? 0, longestQueue),
    authToken: env.COG_AUTH_TOKEN || null,
    webhookOrigins: origins(env, warn),
    isKubernetes: env.KUBERNETES_SERVICE_HOST !== undefined,
  };
}

function origins(env: NodeJS.ProcessEnv, warn: (message: string) => void): ReadonlySet<string> | null {
  const list = env.WEBHOOK_ALLOWED_ORIGINS;
  if (list === undefined || list.trim() === "") {
    if (env.WEBHOOK_AUTH_TOKEN) {
      warn("WEBHOOK_AUTH_TOKEN goes to every webhook that a client names: limit it with WEBHOOK_ALLOWED_ORIGINS");
    }
    return null;
  }
  const known = new Set<string>();
  for (const item of list.split(",").map((text) => text.trim())) {
    const url = item === "" ? null : originOf(item);
    if (url !== null) known.add(url);
    else if (item !== "") warn(`WEBHOOK_ALLOWED_ORIGINS: ${item} is no origin such as https://example.com`);
  }
  return known;
}

/** "https://example.com:8443"; null where the text is no http or https URL. */
export function originOf(text: string): string | null {
  const url = URL.canParse(text) ? new URL(text) : null;
  return url?.protocol === "http:" || url?.protocol === "https:" ? url.origin : null;
}

function concurrency(text: string | undefined, warn: (message: string) => void): number | null {
  if (text === undefined || text === "") return null;
  const value = whole(text);
  if (value !== null && value >= 1) return value;
  warn(`COG_MAX_CONCURRENCY=${text} is not a positive integer: 1 is used`);
  return 1;
}

function whole(text: string | undefined): number | null {
  if (text === undefined || !/^\d+$/.test(text)) return null;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : null;
}

/** Milliseconds; null where the text is no number of seconds. */
function seconds(text: string | undefined, pattern: RegExp): number | null {
  if (text === undefined || !pattern.test(text)) return null;
  return Math.min(Number(text) * 1000, 2 ** 31 - 1);
}
