import type { IncomingMessage, ServerResponse } from "node:http";
import express, { type Express } from "express";
import type { Log } from "../log.ts";
import type { Predictions } from "../prediction/predictions.ts";
import { send, sendEmpty, sendJson, sendText } from "./answer.ts";
import { Authorization, probes } from "./authorization.ts";
import type { Bodies } from "./bodies.ts";
import { CreateHandler } from "./create.ts";
import type { HealthReport } from "./health.ts";
import type { Exposition } from "./prometheus.ts";
import { ReadHandler } from "./read.ts";
import type { UntakenAnswers } from "./untaken-answers.ts";
import { dropBody } from "./unwanted-body.ts";

export interface AppOptions {
  readonly predictions: Predictions;
  readonly health: HealthReport;
  readonly version: string;
  readonly log: Log;
  /** COG_AUTH_TOKEN; null: everyone may do everything. */
  readonly authToken: string | null;
  readonly bodies: Bodies;
  readonly answers: UntakenAnswers;
  readonly isStopping: () => boolean;
  /** POST /shutdown: called after the answer. */
  readonly onShutdown: () => void;
}

export type RequestListener = (req: IncomingMessage, res: ServerResponse) => void;

/** Longer paths are refused with 414, as Cog's HTTP library does. */
const longestPath = 65_534;

/** All routes. Creating a prediction is looked at before the router, since that is where the time of a request goes. */
export function createListener(options: AppOptions): RequestListener {
  const create = new CreateHandler(options);
  const app = createApp(options, create);
  const authorization = options.authToken === null ? null : new Authorization(options.authToken);
  return (req, res) => {
    options.answers.watch(res);
    if (authorization !== null && !probes.has(req.url!) && !authorization.allows(req)) {
      dropBody(req, res);
      res.setHeader("www-authenticate", "Bearer");
      sendJson(res, 401, { error: "a bearer token is needed" });
    } else if (req.url === "/predictions" && req.method === "POST") {
      create.handle(req, res, "predictions", null).catch((error) => fail(options.log, res, error));
    } else if (req.url!.length > longestPath) {
      dropBody(req, res);
      sendEmpty(res, 414);
    } else app(req, res);
  };
}

function createApp(options: AppOptions, create: CreateHandler): Express {
  const { predictions, health, version, log, onShutdown, isStopping } = options;
  let exposition: Exposition | null = null;
  const app = express();
  const reading = new ReadHandler(options);
  // Cog's router knows exact paths only, and adds no headers of its own.
  app.enable("strict routing");
  app.enable("case sensitive routing");
  app.disable("x-powered-by");
  app.disable("etag");
  // A query is never looked at; parsing one would only be a surface.
  app.disable("query parser");

  for (const family of ["predictions", "trainings"] as const) {
    app.post(`/${family}`, (req, res) => create.handle(req, res, family, null));
    app.put(`/${family}/:id`, (req, res) => create.handle(req, res, family, req.params.id));
  }
  // None of the others reads a body.
  app.use((req, res, next) => {
    dropBody(req, res);
    next();
  });

  app.get("/", (_req, res) => sendJson(res, 200, discovery(version, hasTrainings(predictions))));
  app.get("/health-check", async (_req, res) => sendJson(res, 200, await health.body()));
  app.get("/openapi.json", (_req, res) => {
    const { document } = predictions;
    if (document === null) sendJson(res, 503, { error: "the schema is not there: setup has not succeeded" });
    else sendJson(res, 200, document);
  });
  app.get("/livez", (_req, res) => sendJson(res, 200, { status: "alive" }));
  app.get("/readyz", async (_req, res) => {
    const reason = isStopping() ? "the server is stopping" : await health.reasonNotReady();
    if (reason === null) sendJson(res, 200, { status: "ready" });
    else sendJson(res, 503, { status: "not ready", reason });
  });
  app.get("/metrics", async (_req, res) => {
    // Loaded by the first who asks: most servers of a command never are.
    exposition ??= new (await import("./prometheus.ts")).Exposition(predictions);
    send(res, 200, exposition.contentType, await exposition.text());
  });
  for (const path of ["/", "/health-check", "/openapi.json", "/livez", "/readyz", "/metrics"])
    app.all(path, notAllowed("GET,HEAD"));

  for (const family of ["predictions", "trainings"] as const) {
    app.all(`/${family}`, notAllowed("POST"));
    app.get(`/${family}/:id`, (req, res) => reading.answer(res, req.params.id));
    app.all(`/${family}/:id`, notAllowed("GET,HEAD,PUT"));
    app.get(`/${family}/:id/stream`, (req, res) => reading.stream(req, res, req.params.id));
    app.all(`/${family}/:id/stream`, notAllowed("GET,HEAD"));
    app.post(`/${family}/:id/cancel`, (req, res) => {
      sendJson(res, predictions.cancel(req.params.id) ? 200 : 404, {});
    });
    app.all(`/${family}/:id/cancel`, notAllowed("POST"));
  }

  app.post("/shutdown", (_req, res) => {
    res.on("finish", onShutdown);
    sendJson(res, 200, {});
  });
  app.all("/shutdown", notAllowed("POST"));

  app.use((_req, res) => sendEmpty(res, 404));
  app.use(((error, req, res, _next) => {
    // The router's own complaint: a path that is not UTF-8 once decoded.
    if (error instanceof URIError || (error as { status?: unknown }).status === 400) {
      dropBody(req, res);
      sendText(res, 400, "the path is not valid");
    } else fail(log, res, error);
  }) satisfies express.ErrorRequestHandler);
  return app;
}

function hasTrainings(predictions: Predictions): boolean {
  return predictions.document?.components?.schemas?.TrainingInput !== undefined;
}

function discovery(version: string, withTrainings: boolean): Record<string, string> {
  return {
    cog_version: version,
    docs_url: "/docs",
    openapi_url: "/openapi.json",
    shutdown_url: "/shutdown",
    healthcheck_url: "/health-check",
    predictions_url: "/predictions",
    predictions_idempotent_url: "/predictions/{prediction_id}",
    predictions_cancel_url: "/predictions/{prediction_id}/cancel",
    ...(withTrainings
      ? {
          trainings_url: "/trainings",
          trainings_idempotent_url: "/trainings/{training_id}",
          trainings_cancel_url: "/trainings/{training_id}/cancel",
        }
      : {}),
  };
}

function notAllowed(methods: string): RequestListener {
  return (_req, res) => sendEmpty(res, 405, { allow: methods });
}

/** Our own fault; the client learns no more than that. */
function fail(log: Log, res: ServerResponse, error: unknown): void {
  if (res.destroyed || (error instanceof Error && error.message === "the client left")) return;
  log.error(error instanceof Error ? (error.stack ?? error.message) : String(error));
  if (res.headersSent) res.destroy();
  else sendJson(res, 500, { error: "internal error" });
}
