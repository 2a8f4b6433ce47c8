import type { TraceRequest } from "../src/protocol/request-trace.ts";

/** A request of a trace, changed as asked. */
export function traceRequest(fields: Partial<TraceRequest>): TraceRequest {
  return {
    arrivalMs: 0,
    numPromptTokens: 10,
    numOutputTokens: 5,
    maxTokens: null,
    hashIds: [],
    scheduling: undefined,
    ...fields,
  };
}
