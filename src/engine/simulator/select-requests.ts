import type { TraceRequest } from "../../protocol/request-trace.ts";
import type { SimulatedRequest } from "./simulate.ts";

export interface SelectionOptions {
  /** Longest prompt and output together that every configuration can hold. */
  readonly maxTokens: number;
  /** Requests that arrive later are not taken, in milliseconds of the trace; Infinity for all. */
  readonly durationMs: number;
  /** How much faster than in the trace requests arrive. */
  readonly speed: number;
  /**
   * What clients ask for at most where the trace does not say; null: its longest output for all, as a client asks that
   * does not know how long its answer will be.
   */
  readonly askedTokens: number | null;
}

export interface Selection {
  readonly requests: readonly SimulatedRequest[];
  readonly numTooLong: number;
  /** Without prompt or output tokens. */
  readonly numEmpty: number;
}

/** Chooses the requests of a trace that all configurations can run, so that all run the same ones. */
export function selectRequests(trace: readonly TraceRequest[], options: SelectionOptions): Selection {
  const { maxTokens, durationMs, speed } = options;
  const inTime = trace.filter(({ arrivalMs }) => arrivalMs <= durationMs);
  const whole = inTime.filter((request) => request.numPromptTokens > 0 && request.numOutputTokens > 0);
  const fitting = whole.filter((request) => request.numPromptTokens + request.numOutputTokens <= maxTokens);
  const longest = fitting.reduce((most, request) => Math.max(most, request.numOutputTokens), 1);
  const requests = fitting.map((request) => {
    const { numPromptTokens, numOutputTokens, arrivalMs } = request;
    const asked = request.maxTokens ?? options.askedTokens ?? longest;
    return {
      ...request,
      arrivalMs: arrivalMs / speed,
      maxTokens: Math.max(numOutputTokens, Math.min(asked, maxTokens - numPromptTokens)),
    };
  });
  return { requests, numTooLong: whole.length - fitting.length, numEmpty: inTime.length - whole.length };
}
