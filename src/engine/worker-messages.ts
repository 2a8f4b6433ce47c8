import { fromWire, toWire, type WireError } from "../base/errors.ts";
import type {
  EmbedRequest,
  EngineInfo,
  GenerateRequest,
  RequestTrace,
  ScoreRequest,
  ScoreResult,
  StepTrace,
} from "../protocol/engine-client.ts";
import type { AdapterAnswer, AdapterChange, HostedAdapters } from "./adapters/adapter-host.ts";
import type { EmbeddingMessage } from "./embedding/embedding-engine.ts";
import type { EngineOptions } from "./engine-options.ts";
import type { StepMessage } from "./open-requests.ts";
import type { StepRecords } from "./step-record.ts";

/** What the engine's thread is started with. */
export interface WorkerStart {
  readonly options: EngineOptions;
  /** Memory of the `EngineCounters`, read by both sides. */
  readonly counters: SharedArrayBuffer;
}

/** What can be asked of the newest steps and requests. */
export interface Recent {
  readonly steps: readonly StepTrace[];
  readonly requests: readonly RequestTrace[];
}

export type RecentKind = keyof Recent;

/** To the engine's thread. */
export type WorkerCommand =
  | { readonly kind: "generate"; readonly handle: number; readonly request: GenerateRequest }
  | { readonly kind: "score"; readonly handle: number; readonly request: ScoreRequest }
  | { readonly kind: "embed"; readonly handle: number; readonly request: EmbedRequest }
  | { readonly kind: "abort"; readonly handle: number }
  | { readonly kind: "reset" }
  | { readonly kind: "adapter"; readonly change: AdapterChange }
  | { readonly kind: "recent"; readonly what: RecentKind }
  | { readonly kind: "close" };

interface WireStep {
  readonly kind: "step";
  readonly records: StepRecords;
  readonly scores: readonly { readonly handle: number; readonly result: ScoreResult }[];
  readonly failures: readonly { readonly handle: number; readonly error: WireError }[];
  readonly starts: StepMessage["starts"];
  readonly traces: StepMessage["traces"];
}

/** From the engine's thread: `planned` before it loads, `ready` or `refused` once, at most one `step` or `embedded` per step, one `recent` or `adapter` for each asked. */
export type WorkerReport =
  | { readonly kind: "planned"; readonly lines: readonly string[] }
  | { readonly kind: "ready"; readonly info: EngineInfo; readonly adapters: HostedAdapters | null }
  | { readonly kind: "refused"; readonly error: WireError }
  | { readonly kind: "adapter"; readonly answer: AdapterAnswer }
  | { readonly kind: "recent"; readonly items: Recent[RecentKind] }
  | WireStep
  | WireEmbeddings;

interface WireEmbeddings {
  readonly kind: "embedded";
  readonly vectors: EmbeddingMessage["vectors"];
  readonly failures: readonly { readonly handle: number; readonly error: WireError }[];
}

/** As `toWireStep`, of an embedding engine. */
export function toWireEmbeddings({ vectors, failures }: EmbeddingMessage): {
  readonly report: WireEmbeddings;
  readonly transfer: ArrayBuffer[];
} {
  const faults = failures.map(({ handle, error }) => ({ handle, error: toWire(error) }));
  const transfer = vectors.map(({ vector }) => bufferOf(vector));
  return { report: { kind: "embedded", vectors, failures: faults }, transfer };
}

export function fromWireEmbeddings({ vectors, failures }: WireEmbeddings): EmbeddingMessage {
  return { vectors, failures: failures.map(({ handle, error }) => ({ handle, error: fromWire(error) })) };
}

/** A step's message as plain data, with the buffers that move instead of being copied. */
export function toWireStep(message: StepMessage): {
  readonly report: WireStep;
  readonly transfer: ArrayBuffer[];
} {
  const { records, scores, starts, traces } = message;
  const transfer = [bufferOf(records.ints), bufferOf(records.floats)];
  for (const { result } of scores) {
    const { logprobs, argmax, topIds, topLogprobs } = result;
    for (const array of [logprobs, argmax, topIds, topLogprobs]) transfer.push(bufferOf(array));
  }
  const failures = message.failures.map(({ handle, error }) => ({ handle, error: toWire(error) }));
  return { report: { kind: "step", records, scores, failures, starts, traces }, transfer };
}

export function fromWireStep(step: WireStep): StepMessage {
  const failures = step.failures.map(({ handle, error }) => ({ handle, error: fromWire(error) }));
  const { records, scores, starts, traces } = step;
  return { records, scores, failures, starts, traces };
}

function bufferOf(array: Int32Array | Float32Array): ArrayBuffer {
  return array.buffer as ArrayBuffer;
}
