import type { RequestTrace } from "../../protocol/engine-client.ts";
import { snakeCased } from "../snake-case.ts";

/** One entry of an answer's `explain`: the fields of `RequestTrace` in the wire's spelling, with the choice's index. */
export interface TraceBody {
  readonly index: number;
  readonly [field: string]: unknown;
}

export function traceBody(index: number, trace: RequestTrace): TraceBody {
  return { index, ...(snakeCased(trace) as object) };
}
