import { httpStatusOf, isMillraceError, messageOf } from "../base/errors.ts";
import { messageErrorBody } from "./anthropic/errors.ts";
import { type HttpContext, jsonResponse } from "./http-context.ts";
import { errorBody } from "./openai/errors.ts";
import type { RouteDialect } from "./routes.ts";

/** The error's body in the words of a dialect, with its status and headers. */
export function errorResponse(c: HttpContext, error: unknown, dialect: RouteDialect = "openai"): Response {
  const body = dialect === "anthropic" ? messageErrorBody(error, requestIdOf(c)) : errorBody(error);
  const response = jsonResponse(c, body, httpStatusOf(error));
  if (!isMillraceError(error)) return response;
  if (error.retryAfterSeconds !== undefined) {
    response.headers.set("retry-after", String(Math.max(1, Math.ceil(error.retryAfterSeconds))));
  }
  if (error.code === "unauthorized") response.headers.set("www-authenticate", "Bearer");
  return response;
}

function requestIdOf(c: HttpContext): string {
  return c.get("headers")["x-request-id"] ?? "";
}

/** What the log says about an error that a client sees as 500. */
export function faultFields(error: unknown): Record<string, unknown> {
  return { error: messageOf(error), stack: error instanceof Error ? error.stack : undefined };
}
