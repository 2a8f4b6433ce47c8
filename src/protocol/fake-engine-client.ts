import { MillraceError } from "../base/errors.ts";
import { onAbort } from "../base/on-abort.ts";
import type {
  AdapterHost,
  EmbedRequest,
  EngineClient,
  EngineInfo,
  EngineOutput,
  EngineStats,
  FinishReason,
  GenerateRequest,
  RequestTrace,
  ScoreRequest,
  ScoreResult,
  StepTrace,
  TokenLogprobs,
} from "./engine-client.ts";
import { stepTokenEdges } from "./engine-client.ts";
import type { SamplingParams } from "./sampling-params.ts";

/** What a scripted engine answers. Everything has a default, so `createFakeClient()` is a plain echo. */
export interface FakeScript {
  readonly info?: Partial<EngineInfo>;
  /** Token ids of the answer, without the end token; default: the prompt's own ids. */
  readonly reply?: (request: GenerateRequest) => readonly number[];
  /** New tokens per output; default 1. */
  readonly tokensPerOutput?: number;
  /** Waits before every output; default 0 (one turn of the event loop). */
  readonly delayMs?: number;
  /** Awaited before output number `index` of a request: lets a test hold an answer where it wants. */
  readonly hold?: (request: GenerateRequest, index: number) => Promise<void> | undefined;
  /** An error that rejects the request at output number `index` (0 = refused at admission). */
  readonly fail?: (request: GenerateRequest, index: number) => Error | undefined;
  /** Prompt tokens that seem to come from the cache; default 0. */
  readonly numCachedTokens?: number;
  /** Milliseconds that requests seem to have waited; default 0. */
  readonly queuedMs?: number;
  /** Figures that `stats` is to give in place of its own. */
  readonly stats?: Partial<EngineStats>;
  /** Default: null, no adapters. */
  readonly adapters?: AdapterHost;
  /** Default: every log-likelihood is −1 and every token the most likely one. */
  readonly score?: (request: ScoreRequest) => ScoreResult | Promise<ScoreResult>;
}

export interface FakeEngineClient extends EngineClient {
  /** All requests ever given to `generate`, in order. */
  readonly requests: readonly GenerateRequest[];
  readonly scoreRequests: readonly ScoreRequest[];
  /** Scores that their signal ended. */
  readonly numAbortedScores: number;
  /** Ids of requests that were open when they were aborted, in order. */
  readonly abortedIds: readonly string[];
  readonly isClosed: boolean;
  /** How often `resetPrefixCache` was called. */
  readonly numCacheResets: number;
}

/** End token of the fake engine unless the script's `info` says otherwise: the first id after the bytes. */
export const fakeEosTokenId = 256;

const defaultInfo: EngineInfo = {
  architecture: "FakeForCausalLM",
  embeddingSize: null,
  vocabSize: 512,
  maxModelLen: 2048,
  maxPositions: 2048,
  maxNumSeqs: 128,
  maxNumBatchedTokens: 512,
  maxNumQueuedRequests: 4096,
  maxNumQueuedTokens: 0,
  numTotalBlocks: 1024,
  blockSize: 32,
  kvDtype: "f32",
  backend: "fake",
  isa: "scalar",
  attentionDtype: "f32",
  numThreads: 1,
  activations: "f32",
  dtype: "float32",
  eosTokenIds: [fakeEosTokenId],
  memory: { weights: 0, kvCache: 0, arena: 0 },
  loadTimesMs: { total: 0 },
  notes: [],
};

interface OpenRequest {
  readonly request: GenerateRequest;
  isAborted: boolean;
  /** Wakes a waiting output when the request is aborted. */
  readonly aborted: Promise<void>;
  readonly wake: () => void;
}

/**
 * A deterministic `EngineClient` without a model, for tests of the layers above. It keeps the real engine's
 * promises: end and stop ids are the last token of their output, `maxTokens` ends with `length`, an abort gives
 * one last empty output, leaving the loop early aborts, errors reject one iteration only.
 */
export function createFakeClient(script: FakeScript = {}): FakeEngineClient {
  return new ScriptedClient(script);
}

class ScriptedClient implements FakeEngineClient {
  readonly info: EngineInfo;
  readonly adapters: AdapterHost | null;
  readonly requests: GenerateRequest[] = [];
  readonly scoreRequests: ScoreRequest[] = [];
  readonly abortedIds: string[] = [];
  numAbortedScores = 0;
  isClosed = false;
  numCacheResets = 0;
  readonly #script: FakeScript;
  readonly #open = new Map<string, OpenRequest>();
  #promptTokens = 0;
  #generationTokens = 0;
  #numSteps = 0;
  #numFinished = 0;

  constructor(script: FakeScript) {
    this.#script = script;
    this.info = { ...defaultInfo, ...script.info };
    this.adapters = script.adapters ?? null;
  }

  generate(request: GenerateRequest): AsyncIterable<EngineOutput> {
    this.requests.push(request);
    const id = request.requestId;
    if (this.isClosed) return failing(new MillraceError("engine_closed", "The engine is closed."));
    if (this.#open.has(id)) {
      return failing(
        new MillraceError(
          "invalid_request",
          `Request id "${id}" is already open. Give every request its own id.`,
        ),
      );
    }
    let wake = (): void => {};
    const aborted = new Promise<void>((resolve) => {
      wake = resolve;
    });
    const open: OpenRequest = { request, isAborted: false, aborted, wake };
    this.#open.set(id, open);
    this.#promptTokens += request.promptTokenIds.length;
    return this.#answer(open);
  }

  async *#answer(open: OpenRequest): AsyncGenerator<EngineOutput> {
    const { request } = open;
    const outputs = scriptedOutputs(request, this.#script, this.info);
    let isFinished = false;
    try {
      for (const [index, output] of outputs.entries()) {
        await this.#pause(open, index);
        if (open.isAborted) {
          isFinished = true;
          const end = { newTokenIds: [], logprobs: null, finishReason: "abort", stopReason: null } as const;
          yield { ...output, ...end, ...explained(request, index, "abort") };
          return;
        }
        const error = this.#script.fail?.(request, index);
        if (error !== undefined) {
          isFinished = true;
          throw error;
        }
        this.#numSteps += 1;
        this.#generationTokens += output.newTokenIds.length;
        if (output.finishReason !== null) {
          isFinished = true;
          this.#numFinished += 1;
          this.#open.delete(request.requestId);
        }
        yield output;
      }
    } finally {
      if (!isFinished && !open.isAborted) this.abort(request.requestId);
      if (this.#open.get(request.requestId) === open) this.#open.delete(request.requestId);
    }
  }

  async #pause(open: OpenRequest, index: number): Promise<void> {
    const { delayMs = 0, hold } = this.#script;
    if (delayMs === 0) await new Promise((resolve) => setImmediate(resolve));
    else await Promise.race([new Promise((resolve) => setTimeout(resolve, delayMs)), open.aborted]);
    const held = hold?.(open.request, index);
    if (held !== undefined) await Promise.race([held, open.aborted]);
  }

  async score(request: ScoreRequest, signal?: AbortSignal): Promise<ScoreResult> {
    signal?.throwIfAborted();
    this.scoreRequests.push(request);
    if (this.isClosed) throw new MillraceError("engine_closed", "The engine is closed.");
    let ignore = (): void => {};
    const aborted = new Promise<never>((_, reject) => {
      ignore = onAbort(signal, () => {
        this.numAbortedScores += 1;
        reject(signal?.reason);
      });
    });
    try {
      return await Promise.race([(this.#script.score ?? certainScore)(request), aborted]);
    } finally {
      ignore();
    }
  }

  /** Counts of the ids modulo the size, so that a test can tell texts apart. */
  async embed({ tokenIds }: EmbedRequest): Promise<Float32Array> {
    const { embeddingSize } = this.info;
    if (embeddingSize === null) throw new MillraceError("invalid_request", "The fake makes no embeddings.");
    const vector = new Float32Array(embeddingSize);
    for (const id of tokenIds) vector[id % embeddingSize]! += 1;
    return vector;
  }

  abort(requestId: string): void {
    const open = this.#open.get(requestId);
    if (open === undefined) return;
    open.isAborted = true;
    this.abortedIds.push(requestId);
    this.#open.delete(requestId);
    open.wake();
  }

  stats(): Promise<EngineStats> {
    const numRunning = Math.min(this.#open.size, this.info.maxNumSeqs);
    return Promise.resolve({
      numRunning,
      numWaiting: this.#open.size - numRunning,
      numDeferred: 0,
      numWaitingTokens: 0,
      retryAfterSeconds: 0,
      numFreeBlocks: Math.max(0, this.info.numTotalBlocks - numRunning),
      numTotalBlocks: this.info.numTotalBlocks,
      blockSize: this.info.blockSize,
      promptTokens: this.#promptTokens,
      generationTokens: this.#generationTokens,
      numPreemptions: 0,
      numSteps: this.#numSteps,
      numStepTokens: this.#numSteps,
      numStepsByTokens: [this.#numSteps, ...stepTokenEdges.map(() => 0)],
      scheduleMs: 0,
      computeMs: 0,
      publishMs: 0,
      numAborted: this.abortedIds.length,
      numFinished: this.#numFinished,
      numRefused: 0,
      numExpired: 0,
      numFailed: 0,
      numSwapped: 0,
      prefixCacheQueries: this.#promptTokens,
      prefixCacheHits: 0,
      numSwappedBlocks: 0,
      numRecomputedTokens: 0,
      numPrefixMismatches: 0,
      numDrafts: 0,
      numDraftTokens: 0,
      numAcceptedTokens: 0,
      numSpeculationFailures: 0,
      numDraftTokensPerPos: [],
      numAcceptedTokensPerPos: [],
      lastStepAgeMs: 0,
      ...this.#script.stats,
    });
  }

  recentSteps(): Promise<readonly StepTrace[]> {
    return Promise.resolve([]);
  }

  recentRequests(): Promise<readonly RequestTrace[]> {
    return Promise.resolve([]);
  }

  resetPrefixCache(): void {
    this.numCacheResets += 1;
  }

  close(): Promise<void> {
    this.isClosed = true;
    for (const id of this.#open.keys()) this.abort(id);
    return Promise.resolve();
  }
}

// oxlint-disable-next-line require-yield
async function* failing(error: Error): AsyncGenerator<EngineOutput> {
  throw error;
}

/** The whole answer, cut into outputs as the real engine would. */
function scriptedOutputs(request: GenerateRequest, script: FakeScript, info: EngineInfo): EngineOutput[] {
  const { sampling } = request;
  const { tokenIds, finishReason, stopReason } = scriptedTokens(request, script, info);
  const size = script.tokensPerOutput ?? 1;
  const outputs: EngineOutput[] = [];
  for (let start = 0; start === 0 || start < tokenIds.length; start += size) {
    const newTokenIds = tokenIds.slice(start, start + size);
    const isLast = start + size >= tokenIds.length;
    outputs.push({
      requestId: request.requestId,
      newTokenIds,
      logprobs: sampling.logprobs === null ? null : newTokenIds.map((id) => fakeLogprobs(id, sampling)),
      finishReason: isLast ? finishReason : null,
      stopReason: isLast ? stopReason : null,
      numCachedTokens: script.numCachedTokens ?? 0,
      ...(start === 0 ? { queuedMs: script.queuedMs ?? 0 } : {}),
      ...(isLast ? explained(request, tokenIds.length, endedBy(finishReason, stopReason)) : {}),
    });
  }
  return outputs;
}

function endedBy(finishReason: FinishReason, stopReason: number | null): RequestTrace["endedBy"] {
  if (finishReason === "length") return "max_tokens";
  return stopReason === null ? "end_token" : "stop_token";
}

/** The trace of a request that asked for one, as if each token had been a step of a millisecond. */
function explained(
  request: GenerateRequest,
  numSteps: number,
  rule: RequestTrace["endedBy"],
): { readonly trace?: RequestTrace } {
  if (request.explain !== true) return {};
  const numPromptTokens = request.promptTokenIds.length;
  const nothing = { numPreemptions: 0, numSwaps: 0, numSwappedBlocks: 0 };
  return {
    trace: {
      requestId: request.requestId,
      arrivalMs: 0,
      firstStepMs: 0,
      firstTokenMs: 1,
      endMs: numSteps,
      numSteps,
      numChunks: 1,
      numChunkTokens: numPromptTokens,
      numPromptTokens,
      numCachedTokens: 0,
      prefixHitEnd: "unknown",
      ...nothing,
      numRecomputes: 0,
      numRecomputedTokens: 0,
      numDraftTokens: 0,
      numAcceptedTokens: 0,
      endedBy: rule,
    },
  };
}

function scriptedTokens(
  request: GenerateRequest,
  script: FakeScript,
  info: EngineInfo,
): { tokenIds: number[]; finishReason: FinishReason; stopReason: number | null } {
  const { sampling } = request;
  const reply = script.reply?.(request) ?? Array.from(request.promptTokenIds);
  const eos = info.eosTokenIds[0] ?? fakeEosTokenId;
  const tokenIds: number[] = [];
  for (let index = 0; tokenIds.length < sampling.maxTokens; index += 1) {
    const isOver = index >= reply.length;
    const id = isOver ? (sampling.ignoreEos ? (reply[index % reply.length] ?? eos) : eos) : reply[index]!;
    tokenIds.push(id);
    if (tokenIds.length <= sampling.minTokens && !isOver) continue;
    if (!sampling.ignoreEos && info.eosTokenIds.includes(id)) {
      return { tokenIds, finishReason: "stop", stopReason: null };
    }
    if (sampling.stopTokenIds.includes(id)) return { tokenIds, finishReason: "stop", stopReason: id };
  }
  return { tokenIds, finishReason: "length", stopReason: null };
}

/** Made up from the id alone: token `id` first with probability one half, then its successors, each half as likely. */
function fakeLogprobs(id: number, sampling: SamplingParams): TokenLogprobs {
  const count = sampling.logprobs ?? 0;
  const ranks = Array.from({ length: count }, (_, index) => index);
  return {
    logprob: -Math.LN2,
    rank: 1,
    topIds: ranks.map((rank) => id + rank),
    topLogprobs: ranks.map((rank) => -Math.LN2 * (rank + 1)),
  };
}

function certainScore(request: ScoreRequest): ScoreResult {
  const targets = Int32Array.from(request.tokenIds).subarray(request.start);
  const count = targets.length;
  const topIds = new Int32Array(count * request.topK);
  const topLogprobs = new Float32Array(count * request.topK);
  for (let row = 0; row < count; row += 1) {
    for (let rank = 0; rank < request.topK; rank += 1) {
      topIds[row * request.topK + rank] = targets[row]! + rank;
      topLogprobs[row * request.topK + rank] = -(rank + 1);
    }
  }
  return { logprobs: new Float32Array(count).fill(-1), argmax: targets, topIds, topLogprobs };
}
