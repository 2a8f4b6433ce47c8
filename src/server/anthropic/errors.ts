import { faultOf } from "../error-fault.ts";

/** Anthropic's error object; `param` and `reason` are our own. */
export interface MessageErrorBody {
  readonly type: "error";
  readonly error: {
    readonly type: string;
    readonly message: string;
    readonly param: string | null;
    readonly reason: string;
  };
  readonly request_id: string;
}

const types: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  503: "overloaded_error",
  504: "timeout_error",
};

export function messageErrorBody(error: unknown, requestId: string): MessageErrorBody {
  const { status, message, param, reason } = faultOf(error);
  const type = types[status] ?? (status < 500 ? "invalid_request_error" : "api_error");
  return { type: "error", error: { type, message, param, reason }, request_id: requestId };
}
