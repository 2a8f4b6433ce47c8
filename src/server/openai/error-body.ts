import { type ErrorCode } from "../../base/error-catalogue.ts";
import { httpStatusOf, isMillraceError } from "../../base/errors.ts";

/** OpenAI's error object with vLLM's type names; `code` is the HTTP status. */
export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: number;
    /** Our own code, stable for programs. */
    readonly reason: ErrorCode | "internal";
  };
}

const types: Readonly<Record<number, string>> = {
  400: "BadRequestError",
  401: "AuthenticationError",
  404: "NotFoundError",
  405: "MethodNotAllowedError",
  413: "RequestTooLargeError",
  429: "RateLimitError",
  503: "ServiceUnavailableError",
};

/** A fault of ours is not described to clients: its message may hold paths; the log has it. */
export function errorBodyOf(error: unknown): ErrorBody {
  const code = httpStatusOf(error);
  const known = isMillraceError(error) && error.kind !== "environment" ? error : null;
  return {
    error: {
      message: known?.message ?? "The server failed to answer this request. Its log has the cause.",
      type: types[code] ?? "InternalServerError",
      param: known?.param ?? null,
      code,
      reason: isMillraceError(error) ? error.code : "internal",
    },
  };
}
