import { MillraceError } from "../base/errors.ts";
import { version } from "../base/version.ts";
import { errorResponse } from "./error-response.ts";
import { type HttpContext, jsonResponse } from "./http-context.ts";
import type { ServerContext } from "./server-context.ts";

/** `GET /live`: whether the engines still make progress; true while loading and draining. */
export async function handleLive(c: HttpContext, context: ServerContext): Promise<Response> {
  for (const { model, probe } of context.entries) {
    const { isHealthy, reason } = await probe.health();
    if (!isHealthy) {
      return errorResponse(
        c,
        new MillraceError(
          "engine_stalled",
          `The engine of ${model.id} is not well: ${reason}. Restart the server.`,
        ),
      );
    }
  }
  return jsonResponse(c, { status: "ok" });
}

/** `GET /ready`: whether requests are taken now. */
export function handleReady(c: HttpContext, context: ServerContext): Response {
  context.registry();
  return jsonResponse(c, { status: "ok" });
}

/** `GET /health`: both. */
export async function handleHealth(c: HttpContext, context: ServerContext): Promise<Response> {
  context.registry();
  return handleLive(c, context);
}

/** `GET /load`, as vLLM has it: requests that are being answered. */
export function handleLoad(c: HttpContext, context: ServerContext): Response {
  return jsonResponse(c, { server_load: context.numOpenRequests });
}

/** `GET /version`. */
export function handleVersion(c: HttpContext): Response {
  return jsonResponse(c, { version });
}

/** `GET /metrics`, in Prometheus' text form. */
export async function handleMetrics(c: HttpContext, context: ServerContext): Promise<Response> {
  const text = await context.metrics.expose();
  const headers = { ...c.get("headers"), "content-type": context.metrics.registry.contentType };
  return new Response(text, { headers });
}
