import type { IncomingMessage, ServerResponse } from "node:http";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { type Context, Hono } from "hono";
import { MillraceError } from "../base/errors.ts";
import { httpStatusOf, isMillraceError } from "../base/errors.ts";
import { version } from "../base/version.ts";
import type { ApiKeys } from "./auth.ts";
import type { Answer, Exchange, ServerContext } from "./context.ts";
import { chatCompletions } from "./openai/chat.ts";
import { completions } from "./openai/completions.ts";
import { errorBodyOf } from "./openai/error-body.ts";
import { detokenize, tokenize } from "./openai/token-routes.ts";
import type { ServedModel } from "./served-model.ts";

/** Node's request and response behind Hono's; absent when a test calls `app.request`. */
interface Bindings {
  readonly incoming?: IncomingMessage;
  readonly outgoing?: ServerResponse;
}

type AppContext = Context<{ Bindings: Bindings }>;
export type ServerApp = Hono<{ Bindings: Bindings }>;

export interface AppOptions {
  readonly context: ServerContext;
  readonly keys: ApiKeys;
  readonly maxBodyBytes: number;
}

/** A step that ended longer ago than this, with requests open, means that the engine hangs. */
const maxStepAgeMs = 60_000;

/** All routes. Tests call `app.request()`; `startServer` puts it on a socket. */
export function createServerApp(options: AppOptions): ServerApp {
  const app: ServerApp = new Hono<{ Bindings: Bindings }>();
  app.onError((error, c) => failureResponse(error, c, options.context));
  app.use(async (c, next) => {
    c.header("access-control-allow-origin", "*");
    const id = c.req.header("x-request-id");
    if (id !== undefined) c.header("x-request-id", id.slice(0, 256));
    if (c.req.method === "OPTIONS") {
      c.header("access-control-allow-methods", "GET, POST, OPTIONS");
      c.header("access-control-allow-headers", "authorization, content-type, x-request-id");
      return c.body(null, 204);
    }
    if (c.req.path.startsWith("/v1/") || c.req.path.endsWith("tokenize")) {
      options.keys.check(c.req.header("authorization"));
    }
    return next();
  });
  addModelRoutes(app, options);
  addStateRoutes(app, options.context);
  addFallbacks(app);
  return app;
}

function addModelRoutes(app: ServerApp, options: AppOptions): void {
  const { context } = options;
  const endpoint = (run: (context: ServerContext, exchange: Exchange) => Promise<Answer>) => async (c: AppContext) =>
    respond(c, await run(context, await exchangeOf(c, options.maxBodyBytes)));
  app.post("/v1/completions", endpoint(completions));
  app.post("/v1/chat/completions", endpoint(chatCompletions));
  app.post("/tokenize", endpoint(tokenize));
  app.post("/detokenize", endpoint(detokenize));
  app.get("/v1/models", (c) => {
    context.models.find(undefined);
    return c.json({ object: "list", data: context.models.models.map(modelCard) });
  });
  app.get("/v1/models/:id{.+}", (c) => c.json(modelCard(context.models.find(c.req.param("id")))));
}

function addStateRoutes(app: ServerApp, context: ServerContext): void {
  app.get("/live", (c) => c.json({ status: "live" }));
  app.get("/ready", (c) => c.json({ ready: context.models.isReady }, context.models.isReady ? 200 : 503));
  app.get("/version", (c) => c.json({ version }));
  app.get("/health", async (c) => {
    if (!context.models.isReady) context.models.find(undefined);
    for (const model of context.models.models) {
      const { lastStepAgeMs } = await model.client.stats();
      if (lastStepAgeMs > maxStepAgeMs) {
        throw new MillraceError("server_not_ready", `The engine of ${model.id} made no step for ${Math.round(lastStepAgeMs / 1000)} s. Restart the server.`);
      }
    }
    return c.json({ status: "ok" });
  });
  app.get("/metrics", async (c) =>
    c.body(await context.metrics.render(), 200, { "content-type": context.metrics.registry.contentType }),
  );
}

/** 405 for a known path with another method, 404 for the rest. */
function addFallbacks(app: ServerApp): void {
  const methods = new Map(
    app.routes.filter((route) => route.method !== "ALL").map((route) => [route.path, route.method]),
  );
  app.notFound((c) => {
    const allowed = methods.get(c.req.path);
    if (allowed !== undefined) {
      c.header("allow", allowed);
      throw new MillraceError("method_not_allowed", `${c.req.path} takes ${allowed}, not ${c.req.method}.`);
    }
    throw new MillraceError(
      "route_not_found",
      `There is no ${c.req.path} here. This server has: ${[...methods.keys()].join(", ")}.`,
    );
  });
}

function modelCard(model: ServedModel): Record<string, unknown> {
  return {
    id: model.id,
    object: "model",
    created: model.created,
    owned_by: "millrace",
    root: model.id,
    parent: null,
    max_model_len: model.client.info.maxModelLen,
  };
}

async function exchangeOf(c: AppContext, maxBodyBytes: number): Promise<Exchange> {
  const { incoming, outgoing } = c.env ?? {};
  const text = await readText(c, maxBodyBytes);
  const controller = new AbortController();
  outgoing?.once("close", () => {
    if (!outgoing.writableFinished) controller.abort();
  });
  return { text, incoming, outgoing, signal: controller.signal };
}

async function readText(c: AppContext, maxBodyBytes: number): Promise<string> {
  const body = c.req.raw.body;
  if (body === null) return "";
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    size += chunk.byteLength;
    if (size > maxBodyBytes) {
      throw new MillraceError(
        "request_too_large",
        `The body has more than ${maxBodyBytes} bytes. Send a shorter prompt or start the server with a larger --max-body-size.`,
      );
    }
    chunks.push(chunk);
  }
  return new TextDecoder().decode(Buffer.concat(chunks));
}

function respond(c: AppContext, answer: Answer): Response {
  if (answer.kind === "streamed") return RESPONSE_ALREADY_SENT;
  for (const [name, value] of Object.entries(answer.headers)) c.header(name, value);
  return c.json(answer.body);
}

function failureResponse(error: unknown, c: AppContext, context: ServerContext): Response {
  const status = httpStatusOf(error);
  if (status >= 500 && status !== 503) context.logger.error("a request failed", { path: c.req.path, error });
  if (isMillraceError(error) && error.retryAfterSeconds !== undefined) {
    c.header("retry-after", String(Math.ceil(error.retryAfterSeconds)));
  }
  c.header("access-control-allow-origin", "*");
  return c.json(errorBodyOf(error), status as 400);
}
