import type { Agent } from "undici";
import { streamRequest, type TimedEvent } from "../client/completion-stream.ts";
import type { Endpoint } from "../client/endpoint.ts";
import { messageIn, serverMessageOf } from "../client/server-message.ts";
import type { RequestRecord } from "../records/bench.ts";

/** What a stage sends to. */
export interface BenchTarget {
  readonly endpoint: Endpoint;
  readonly model: string;
  readonly pool: Agent;
}

interface CompletionChunk {
  readonly choices?: readonly { readonly text?: string; readonly finish_reason?: string | null }[];
  readonly usage?: { readonly prompt_tokens?: number; readonly completion_tokens?: number } | null;
  readonly error?: unknown;
}

/** Collects what the events of one stream say. */
class ChunkReader {
  readonly chunkMs: number[] = [];
  readonly coalesced: boolean[] = [];
  promptTokens: number | null = null;
  outputTokens: number | null = null;
  finishReason: string | null = null;
  error: string | null = null;
  sawDone = false;

  read(event: TimedEvent): void {
    if (event.data === "[DONE]") {
      this.sawDone = true;
      return;
    }
    const chunk = parseChunk(event.data);
    if (chunk === null) {
      this.error ??= `the stream has an event that is not JSON: ${event.data.slice(0, 80)}`;
      return;
    }
    if (chunk.error !== undefined) this.error ??= messageIn(chunk.error) ?? "error without a message";
    if (chunk.usage != null) {
      this.promptTokens = chunk.usage.prompt_tokens ?? this.promptTokens;
      this.outputTokens = chunk.usage.completion_tokens ?? this.outputTokens;
    }
    const choice = chunk.choices?.[0];
    if (choice === undefined) return;
    // A token may yield no text yet (half a character); the closing event of some servers has no token at all.
    if (choice.text !== "" || choice.finish_reason == null) {
      this.chunkMs.push(event.atMs);
      this.coalesced.push(event.coalesced);
    }
    this.finishReason = choice.finish_reason ?? this.finishReason;
  }
}

function parseChunk(data: string): CompletionChunk | null {
  try {
    const value: unknown = JSON.parse(data);
    return typeof value === "object" && value !== null ? (value as CompletionChunk) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

export interface RequestPlan {
  readonly index: number;
  readonly prompt: readonly number[] | string;
  readonly outputTokens: number;
  /** Monotonic milliseconds that count as 0 in the record. */
  readonly originMs: number;
  /** When it was due, after the origin; null where nothing but the answer before it decides. */
  readonly dueMs: number | null;
  readonly signal?: AbortSignal | undefined;
}

/** Sends one streaming completion that runs to its full length and records it. Never rejects. */
export async function measureRequest(target: BenchTarget, plan: RequestPlan): Promise<RequestRecord> {
  const reader = new ChunkReader();
  const outcome = await streamRequest(target.pool, {
    endpoint: target.endpoint,
    path: "/v1/completions",
    body: JSON.stringify({
      model: target.model,
      prompt: plan.prompt,
      max_tokens: plan.outputTokens,
      min_tokens: plan.outputTokens,
      ignore_eos: true,
      temperature: 0,
      stream: true,
      stream_options: { include_usage: true },
    }),
    onEvent: (event) => reader.read(event),
    signal: plan.signal,
  });
  const since = (ms: number): number => ms - plan.originMs;
  const first = reader.chunkMs[0];
  const last = reader.chunkMs.at(-1);
  return {
    index: plan.index,
    dueMs: plan.dueMs,
    sentMs: since(outcome.sentMs),
    firstTokenMs: first === undefined ? null : since(first),
    lastTokenMs: last === undefined ? null : since(last),
    endMs: since(outcome.endMs),
    promptTokens: reader.promptTokens,
    outputTokens: reader.outputTokens,
    chunkMs: reader.chunkMs.map(since),
    coalesced: reader.coalesced,
    finishReason: reader.finishReason,
    error: faultOf(outcome, reader),
  };
}

function faultOf(
  outcome: { readonly failure: string | null; readonly status: number; readonly body: string },
  reader: ChunkReader,
): string | null {
  if (outcome.failure !== null) return outcome.failure;
  if (outcome.status !== 200) return `HTTP ${outcome.status}: ${serverMessageOf(outcome.body)}`;
  if (reader.error !== null) return reader.error;
  if (!reader.sawDone) return "the stream ended without [DONE]";
  return reader.chunkMs.length === 0 ? "the stream had no token" : null;
}
