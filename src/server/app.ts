import { randomUUID } from "node:crypto";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { Hono } from "hono";
import { httpStatusOf, isMillraceError, MillraceError } from "../base/errors.ts";
import { nearestName } from "../base/nearest-name.ts";
import { logAccess } from "./access-log.ts";
import { crossOriginHeaders, preflightHeaders } from "./cross-origin.ts";
import { handleRequests, handleResetPrefixCache, handleSteps } from "./dev-routes.ts";
import { errorResponse, faultFields } from "./error-response.ts";
import { handleHealth, handleLive, handleLoad, handleMetrics, handleReady, handleVersion } from "./health.ts";
import { type HttpContext, requireJson, type ServerEnv } from "./http-context.ts";
import { handleChat } from "./openai/chat.ts";
import { handleCompletions } from "./openai/completions.ts";
import { handleEmbeddings } from "./openai/embeddings.ts";
import { handleModel, handleModels } from "./openai/models.ts";
import { handleDetokenize, handleTokenize, handleTokenizerInfo } from "./openai/tokenize.ts";
import { endpoints, type Route, type RouteName, routes, shownPath } from "./routes.ts";
import { shorten } from "./served-model.ts";
import type { ServerContext } from "./server-context.ts";

type Handler = (c: HttpContext, context: ServerContext) => Response | Promise<Response>;

/** Those that not every client asks for are read with their first request: the server starts without them. */
const handlers: Readonly<Record<RouteName, Handler>> = {
  chat: handleChat,
  completions: handleCompletions,
  responses: async (c, context) => (await import("./responses/responses.ts")).handleResponses(c, context),
  messages: async (c, context) => (await import("./anthropic/messages.ts")).handleMessages(c, context),
  countTokens: async (c, context) => (await import("./anthropic/messages.ts")).handleCountTokens(c, context),
  embeddings: handleEmbeddings,
  score: scoreTexts,
  scoreV1: scoreTexts,
  rerank: rerankTexts,
  rerankV1: rerankTexts,
  rerankV2: rerankTexts,
  models: handleModels,
  model: handleModel,
  tokenize: handleTokenize,
  detokenize: handleDetokenize,
  tokenizerInfo: handleTokenizerInfo,
  health: handleHealth,
  ready: handleReady,
  live: handleLive,
  version: handleVersion,
  load: handleLoad,
  openApi: async (c, context) => (await import("./openapi.ts")).handleOpenApi(c, context),
  docs: async (c, context) => (await import("./openapi.ts")).handleDocs(c, context),
  metrics: handleMetrics,
  loadAdapter: async (c, context) =>
    (await import("./adapters/adapter-routes.ts")).handleLoadAdapter(c, context),
  unloadAdapter: async (c, context) =>
    (await import("./adapters/adapter-routes.ts")).handleUnloadAdapter(c, context),
  loadModel: async (c, context) => (await import("./pool/pool-routes.ts")).handleLoadModel(c, context),
  unloadModel: async (c, context) => (await import("./pool/pool-routes.ts")).handleUnloadModel(c, context),
  sleep: async (c, context) => (await import("./pool/pool-routes.ts")).handleSleep(c, context),
  wakeUp: async (c, context) => (await import("./pool/pool-routes.ts")).handleWakeUp(c, context),
  isSleeping: async (c, context) => (await import("./pool/pool-routes.ts")).handleIsSleeping(c, context),
  resetPrefixCache: handleResetPrefixCache,
  steps: handleSteps,
  requests: handleRequests,
};

async function scoreTexts(c: HttpContext, context: ServerContext): Promise<Response> {
  return (await import("./openai/score.ts")).handleScore(c, context);
}

async function rerankTexts(c: HttpContext, context: ServerContext): Promise<Response> {
  return (await import("./openai/score.ts")).handleRerank(c, context);
}

/** The HTTP routes over one context; hand `fetch` to any host, or `request` to a test. */
export function createServerApp(context: ServerContext): Hono<ServerEnv> {
  const app = new Hono<ServerEnv>();
  app.use("*", async (c, next) => {
    c.set("headers", commonHeaders(c, context));
    const startedAt = context.clock.now();
    await next();
    if (context.logsAccess) logAccess(c, context, startedAt, () => c.res.status);
  });
  app.options("*", (c) => {
    const asked = c.req.header("access-control-request-headers");
    const headers = { ...c.get("headers"), ...preflightHeaders(context.crossOrigin, asked) };
    return new Response(null, { status: 204, headers });
  });
  for (const [name, handler] of Object.entries(handlers)) {
    const route: Route = routes[name as RouteName];
    if (route.isDev === true && !context.hasDevEndpoints) continue;
    app.on(route.method, route.path, async (c) => {
      const beganAt = context.clock.now();
      const response = await answer(c, context, route, handler);
      const status = response === RESPONSE_ALREADY_SENT ? 200 : response.status;
      const seconds = (context.clock.now() - beganAt) / 1000;
      context.metrics.countHttp(route.method, shownPath(route.path), status, seconds);
      return response;
    });
    app.all(route.path, (c) => refuseMethod(c, context, route));
  }
  app.notFound((c) => refuse(c, context, routeNotFound(c.req.path)));
  app.onError((error, c) => refuse(c, context, error));
  return app;
}

async function answer(
  c: HttpContext,
  context: ServerContext,
  route: Route,
  handler: Handler,
): Promise<Response> {
  try {
    if (route.isOpen !== true) admit(c, context, route);
    return await handler(c, context);
  } catch (error) {
    return fail(c, context, route, error);
  } finally {
    c.get("ticket")?.end();
  }
}

/** @param route undefined where the path has none */
function fail(c: HttpContext, context: ServerContext, route: Route | undefined, error: unknown): Response {
  const status = httpStatusOf(error);
  const handler = route === undefined ? "none" : shownPath(route.path);
  context.metrics.countHttpError(handler, isMillraceError(error) ? error.code : "internal");
  if (status === 500) context.logger.error("A request failed.", { path: c.req.path, ...faultFields(error) });
  return errorResponse(c, error, route?.dialect);
}

function refuse(c: HttpContext, context: ServerContext, error: unknown, route?: Route): Response {
  const response = fail(c, context, route, error);
  context.metrics.countHttp(c.req.method, "none", response.status, 0);
  return response;
}

function refuseMethod(c: HttpContext, context: ServerContext, route: Route): Response {
  const error = new MillraceError(
    "method_not_allowed",
    `The path ${shownPath(route.path)} does not take ${shorten(c.req.method)}. Use ${route.method}.`,
  );
  const response = refuse(c, context, error, route);
  response.headers.set("allow", route.method);
  return response;
}

/**
 * Errors: `host_not_allowed`, `origin_not_allowed`, `unauthorized`, `forbidden`, `unsupported_media_type`,
 * `rate_limited`.
 */
function admit(c: HttpContext, context: ServerContext, route: Route): void {
  const { scope = "inference" } = route;
  const host = c.req.header("host") ?? new URL(c.req.url).host;
  context.pageGuard?.check(host, c.req.header("origin"), scope);
  if (scope === "metrics" && !context.guardsMetrics) return;
  const caller = context.apiKeys.check(givenKey(c), scope);
  c.set("caller", caller);
  // Pages may send any other type without asking first.
  if (scope === "admin") requireJson(c);
  if (route.isLimited !== true) return;
  // A refusal tells them too.
  Object.assign(c.get("headers"), context.admission.headers(caller));
  const ticket = context.admission.open(caller);
  c.set("ticket", ticket);
  Object.assign(c.get("headers"), ticket.headers());
}

/** OpenAI's clients send a bearer token, Anthropic's a header of its own. */
function givenKey(c: HttpContext): string | undefined {
  const bearer = /^Bearer +(.+)$/i.exec(c.req.header("authorization") ?? "")?.[1];
  return bearer ?? c.req.header("x-api-key");
}

function routeNotFound(path: string): MillraceError {
  const pathOf = (endpoint: string): string => endpoint.slice(endpoint.indexOf("/"));
  const nearest = nearestName(path, endpoints.map(pathOf));
  const meant = endpoints.filter((endpoint) => pathOf(endpoint) === nearest).join(" and ");
  const hint = meant === "" ? "" : ` The nearest is ${meant}.`;
  return new MillraceError(
    "route_not_found",
    `There is no path ${shorten(path)} here.${hint} This server has ${endpoints.join(", ")}. Use one of these.`,
  );
}

/** Request id and cross-origin headers of every answer. */
function commonHeaders(c: HttpContext, context: ServerContext): Record<string, string> {
  const given = c.req.header("x-request-id");
  const isSafe = given !== undefined && /^[\x21-\x7e]{1,128}$/.test(given);
  return {
    "x-request-id": isSafe ? given : randomUUID(),
    ...crossOriginHeaders(context.crossOrigin, c.req.header("origin")),
    ...(context.phase === "draining" ? { connection: "close" } : {}),
  };
}
