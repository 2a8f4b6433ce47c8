import { type CatalogueEntry, type ErrorCode, type ErrorKind, errorCatalogue } from "./error-catalogue.ts";

export interface ErrorDetails {
  /** Field or option at fault, such as `messages[0].content` or `--scheme`. */
  readonly param?: string;
  readonly cause?: unknown;
  /** Seconds after which a retry makes sense. */
  readonly retryAfterSeconds?: number;
}

/**
 * Bad news that someone can act on. The message says what was wrong, the value seen, what is allowed and what
 * to do next. Bugs of ours are `invariant` failures instead; expected outcomes are return values.
 */
export class MillraceError extends Error {
  override readonly name: string = "MillraceError";
  readonly code: ErrorCode;
  readonly param: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.param = details.param;
    this.retryAfterSeconds = details.retryAfterSeconds;
  }

  get kind(): ErrorKind {
    return errorCatalogue[this.code].kind;
  }
}

/** True for our errors, also those that crossed a worker boundary as plain objects revived by `fromWire`. */
export function isMillraceError(error: unknown): error is MillraceError {
  return error instanceof MillraceError;
}

/** 2 as for shell usage errors, 3 and 4 free for ours, 70 as EX_SOFTWARE of sysexits. */
const exitCodes: Record<ErrorKind, number> = { caller: 2, environment: 3, capacity: 4, bug: 70 };

/** What shells report for a program that Ctrl-C ended: 128 + SIGINT. */
const interruptedExitCode = 130;

/** Process exit code for an error that ends a command. */
export function exitCodeOf(error: unknown): number {
  if (isMillraceError(error) && error.code === "interrupted") return interruptedExitCode;
  return isMillraceError(error) ? exitCodes[error.kind] : exitCodes.bug;
}

const statuses: Record<ErrorKind, number> = { caller: 400, environment: 500, capacity: 503, bug: 500 };

/** HTTP status for an error that ends a request. */
export function httpStatusOf(error: unknown): number {
  if (!isMillraceError(error)) return 500;
  const entry: CatalogueEntry = errorCatalogue[error.code];
  return entry.status ?? statuses[error.kind];
}

/** An error as plain data, for structured clone between threads. */
export interface WireError {
  readonly code: ErrorCode | null;
  readonly message: string;
  readonly param: string | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly stack: string | undefined;
}

export function toWire(error: unknown): WireError {
  const known = isMillraceError(error) ? error : undefined;
  return {
    code: known?.code ?? null,
    message: messageOf(error),
    param: known?.param,
    retryAfterSeconds: known?.retryAfterSeconds,
    stack: error instanceof Error ? error.stack : undefined,
  };
}

export function fromWire(wire: WireError): Error {
  if (wire.code === null) {
    const error = new Error(wire.message);
    if (wire.stack !== undefined) error.stack = wire.stack;
    return error;
  }
  return new MillraceError(wire.code, wire.message, {
    ...(wire.param === undefined ? {} : { param: wire.param }),
    ...(wire.retryAfterSeconds === undefined ? {} : { retryAfterSeconds: wire.retryAfterSeconds }),
  });
}

/** What the system says of a file, without the call and the path that Node puts behind it. */
export function systemReasonOf(error: unknown): string {
  const message = messageOf(error);
  return error instanceof Error && "syscall" in error ? message.replace(/, \w+(?: '.*)?$/s, "") : message;
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
