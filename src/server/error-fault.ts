import { type ErrorCode } from "../base/error-catalogue.ts";
import { httpStatusOf, isMillraceError } from "../base/errors.ts";

/** What a client is told of an error, in the words of no dialect. */
export interface Fault {
  readonly status: number;
  readonly message: string;
  /** The field at fault. */
  readonly param: string | null;
  readonly reason: ErrorCode | "internal";
}

/** Our own faults are told without their text, which may hold paths; the log has it. */
export function faultOf(error: unknown): Fault {
  const known = isMillraceError(error) ? error : undefined;
  return {
    status: httpStatusOf(error),
    message: known?.message ?? "The server failed by a fault of its own. Its log says more.",
    param: known?.param ?? null,
    reason: known?.code ?? "internal",
  };
}
