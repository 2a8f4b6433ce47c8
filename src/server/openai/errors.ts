import { httpStatusOf, isMillraceError, messageOf } from "../../base/errors.ts";
import { type HttpContext, jsonResponse } from "../http-context.ts";

/** OpenAI's error object. `code` is the HTTP status, as vLLM has it; `reason` is our own code. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: number;
    readonly reason: string;
  };
}

const types: Readonly<Record<number, string>> = {
  400: "BadRequestError",
  401: "AuthenticationError",
  404: "NotFoundError",
  405: "MethodNotAllowedError",
  413: "RequestTooLargeError",
  429: "TooManyRequestsError",
  501: "NotImplementedError",
  503: "ServiceUnavailableError",
  504: "GatewayTimeoutError",
};

/** Our own faults are told without their text, which may hold paths; the log has it. */
export function errorBody(error: unknown): ErrorBody {
  const known = isMillraceError(error) ? error : undefined;
  const status = httpStatusOf(error);
  return {
    error: {
      message: known?.message ?? "The server failed by a fault of its own. Its log says more.",
      type: types[status] ?? "InternalServerError",
      param: known?.param ?? null,
      code: status,
      reason: known?.code ?? "internal",
    },
  };
}

export function errorResponse(c: HttpContext, error: unknown): Response {
  const response = jsonResponse(c, errorBody(error), httpStatusOf(error));
  if (!isMillraceError(error)) return response;
  if (error.retryAfterSeconds !== undefined) {
    response.headers.set("retry-after", String(Math.max(1, Math.ceil(error.retryAfterSeconds))));
  }
  if (error.code === "unauthorized") response.headers.set("www-authenticate", "Bearer");
  return response;
}

/** What the log says about an error that a client sees as 500. */
export function faultFields(error: unknown): Record<string, unknown> {
  return { error: messageOf(error), stack: error instanceof Error ? error.stack : undefined };
}
