import { faultOf } from "../error-fault.ts";

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
  403: "PermissionDeniedError",
  404: "NotFoundError",
  405: "MethodNotAllowedError",
  409: "ConflictError",
  413: "RequestTooLargeError",
  415: "UnsupportedMediaTypeError",
  421: "MisdirectedRequestError",
  429: "TooManyRequestsError",
  501: "NotImplementedError",
  503: "ServiceUnavailableError",
  504: "GatewayTimeoutError",
};

export function errorBody(error: unknown): ErrorBody {
  const { status, message, param, reason } = faultOf(error);
  const type = types[status] ?? (status < 500 ? "BadRequestError" : "InternalServerError");
  return { error: { message, type, param, code: status, reason } };
}
