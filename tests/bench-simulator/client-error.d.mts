import type { RequestRecord } from "../../src/records/bench.ts";
import type { LogEntry } from "./start-simulator.mjs";

/** What a client says of a request. */
export interface SeenRequest {
  readonly requestId: string;
  readonly ttftMs: number;
  readonly gapsMs: readonly number[];
}

/** Milliseconds, client − server. */
export interface ClientError {
  readonly numRequests: number;
  readonly numUnmatched: number;
  readonly ttftMin: number;
  readonly ttftP50: number;
  readonly ttftP99: number;
  readonly itlP50: number;
  readonly itlP99: number;
  readonly itlSigma: number;
}

export function clientError(seen: readonly SeenRequest[], log: readonly LogEntry[]): ClientError;
export function seenByUs(records: readonly RequestRecord[]): SeenRequest[];
export function seenByVllm(
  result: { readonly ttfts: readonly number[]; readonly itls: readonly (readonly number[])[] },
  prefix: string,
): SeenRequest[];
