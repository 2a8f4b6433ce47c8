import { type StreamOutcome, streamRequest } from "../client/completion-stream.ts";
import type { ConnectionPool } from "../client/connection-pool.ts";
import type { Endpoint } from "../client/endpoint.ts";
import { statusFailureKind } from "../client/failure-kind.ts";
import { serverMessageOf } from "../client/server-message.ts";
import type { RequestRecord } from "../records/bench.ts";
import { ChunkReader } from "./chunk-reader.ts";
import { type BodyOptions, type Prompt, requestFor } from "./request-body.ts";

const eventStream = "text/event-stream";

/** What a stage sends to. */
export interface BenchTarget extends BodyOptions {
  /** Several share the load in turn. */
  readonly endpoints: readonly Endpoint[];
  readonly pool: ConnectionPool;
}

export interface RequestPlan {
  readonly index: number;
  /** Place in its conversation, from 0. */
  readonly turn: number;
  readonly prompt: Prompt;
  /** Null where the model is to end by itself. */
  readonly outputTokens: number | null;
  /** When it was due, in monotonic milliseconds; null where nothing but the answer before it decides. */
  readonly dueMs: number | null;
}

/** A request whose body is made, so that sending it takes no time. */
export interface PreparedRequest {
  readonly plan: RequestPlan;
  readonly path: string;
  readonly body: string;
}

/** A request that was answered or failed, not read yet. */
export interface SentRequest {
  readonly plan: RequestPlan;
  readonly endpoint: number;
  readonly outcome: StreamOutcome;
}

export function prepareRequest(target: BodyOptions, plan: RequestPlan): PreparedRequest {
  return { plan, ...requestFor(plan.prompt, plan.outputTokens, target) };
}

/** Sends one streaming request and waits for its end. Never rejects. */
export async function sendRequest(
  { endpoints, pool }: BenchTarget,
  { plan, path, body }: PreparedRequest,
  signal?: AbortSignal,
): Promise<SentRequest> {
  const { index, turn } = plan;
  const endpoint = index % endpoints.length;
  const requestId = `bench-${index}-${turn}`;
  const outcome = await streamRequest(pool, {
    endpoint: endpoints[endpoint]!,
    path,
    body,
    requestId,
    signal,
  });
  return { plan, endpoint, outcome };
}

/** What is known of an answer without reading it: whether it came and closed as it should. */
export function looksGood({ outcome }: SentRequest): boolean {
  return outcome.failure === null && outcome.status === 200 && outcome.log.endsWell;
}

/** Whether the server said that it is full: it is there, and wants to be asked later. */
export function isRefusal({ outcome }: SentRequest): boolean {
  return statusFailureKind(outcome.status) === "overloaded";
}

/** Reads what came. `originMs`: monotonic milliseconds that count as 0 in the record. */
export function readAnswer(
  { plan, endpoint, outcome }: SentRequest,
  originMs: number,
): { readonly record: RequestRecord; readonly text: string } {
  const reader = new ChunkReader(outcome.log.events());
  const since = (ms: number): number => ms - originMs;
  const first = reader.chunkMs[0];
  const last = reader.chunkMs.at(-1);
  const fault = faultOf(outcome, reader);
  const record: RequestRecord = {
    index: plan.index,
    turn: plan.turn,
    endpoint,
    dueMs: plan.dueMs === null ? null : since(plan.dueMs),
    sentMs: since(outcome.sentMs),
    firstTokenMs: first === undefined ? null : since(first),
    lastTokenMs: last === undefined ? null : since(last),
    endMs: since(outcome.endMs),
    askedOutputTokens: plan.outputTokens,
    promptTokens: reader.promptTokens,
    outputTokens: reader.outputTokens,
    cachedTokens: reader.cachedTokens,
    chunkMs: reader.chunkMs.map(since),
    coalesced: reader.coalesced,
    chunkTokens: reader.chunkTokens,
    finishReason: reader.finishReason,
    status: outcome.status,
    error: fault?.message ?? null,
    errorKind: fault?.kind ?? null,
    retryAfterSeconds: outcome.retryAfterSeconds,
  };
  return { record, text: reader.text };
}

/** Sends one request and reads it at once. Never rejects. */
export async function measureRequest(
  target: BenchTarget,
  plan: RequestPlan,
  { originMs, signal }: { readonly originMs: number; readonly signal?: AbortSignal },
): Promise<RequestRecord> {
  return readAnswer(await sendRequest(target, prepareRequest(target, plan), signal), originMs).record;
}

function faultOf(
  { failure, status, mediaType, body }: StreamOutcome,
  reader: ChunkReader,
): ChunkReader["fault"] {
  if (failure !== null) return failure;
  if (status === 200) {
    const isOther = reader.fault !== null && mediaType !== "" && mediaType !== eventStream;
    return isOther
      ? { kind: "malformed", message: `the answer is ${mediaType}, no event stream` }
      : reader.fault;
  }
  return { kind: statusFailureKind(status), message: `HTTP ${status}: ${serverMessageOf(body)}` };
}
