import type { SamplingParams } from "./sampling-params.ts";
import type { TokenMaskChannel } from "./token-mask-channel.ts";

/** How a request stands beside others. It changes when an answer comes, never what it is. */
export interface RequestScheduling {
  /** A lower number starts sooner; default 0. A whole number of 32 bits. Refused where the engine reads none. */
  readonly priority?: number;
  /** Who pays: the name whose share and caps count; default the empty name. At most 256 characters. */
  readonly tenant?: string;
  /**
   * When the request came, in milliseconds since 1970: its deadline and its trace count from then. What is asked of
   * the engine in several parts has one arrival. Default: when the engine gets it.
   */
  readonly arrivalMs?: number;
  /** Milliseconds from arrival until the whole answer is there; above 0. Default: no deadline. */
  readonly deadlineMs?: number;
  /** Prefix blocks are shared only between requests of equal salt. 1 to 256 characters; default: with all. */
  readonly cacheSalt?: string;
}

/**
 * A request that is refused costs no model work. Its iteration rejects with a `MillraceError` whose code says why:
 * - `invalid_request`, `context_length_exceeded`, `request_never_fits`: it can never run as it is (400)
 * - `adapter_not_found`: its adapter is not loaded (404)
 * - `tenant_queue_full`: its tenant has used up its own places in the queue (429)
 * - `engine_overloaded`: the queue is full (503)
 * - `deadline_unreachable`: the work ahead of it takes longer than its deadline allows (503)
 *
 * The last three carry `retryAfterSeconds`. `deadline_exceeded` (504) ends a request whose deadline passes while it
 * waits or runs; outputs that came before it stay valid.
 */
export interface GenerateRequest {
  /** Unique among open requests. */
  readonly requestId: string;
  readonly promptTokenIds: readonly number[] | Int32Array;
  readonly sampling: SamplingParams;
  readonly scheduling?: RequestScheduling;
  /** Which tokens may be drawn at each place; the engine closes it, however the request ends. Default: all. */
  readonly mask?: TokenMaskChannel;
  /** Whether the last output is to bring a `trace`; default false. */
  readonly explain?: boolean;
  /** Name of the loaded adapter that changes the model for this request; default: none. */
  readonly adapter?: string;
}

/** Why the use of the prefix cache ended where it did. */
export type PrefixHitEnd =
  /** Everything but what has to be computed came from the cache. */
  | "complete"
  /** Other texts with this prefix are known; none goes on like this one. */
  | "diverged"
  /** Nothing is known beyond the hit: never computed, or its blocks have been used for others. */
  | "unknown";

/** The life of one request, for the question why it was slow. Times are milliseconds since its arrival. */
export interface RequestTrace {
  /** The request's own; scores are named `score-` and a number. */
  readonly requestId: string;
  /** Milliseconds since 1970. */
  readonly arrivalMs: number;
  /** When its first step began; null if it never ran. */
  readonly firstStepMs: number | null;
  /** When the step had ended that drew its first token; null if none did. */
  readonly firstTokenMs: number | null;
  readonly endMs: number;
  /** Steps that it took part in. */
  readonly numSteps: number;
  /** Those that computed tokens of the prompt, and how many; what was computed again counts again. */
  readonly numChunks: number;
  readonly numChunkTokens: number;
  readonly numPromptTokens: number;
  readonly numCachedTokens: number;
  /** Null if it never ran. */
  readonly prefixHitEnd: PrefixHitEnd | null;
  /** How often it gave way to others; then how often it was moved out, and how often it lost tokens. */
  readonly numPreemptions: number;
  readonly numSwaps: number;
  readonly numSwappedBlocks: number;
  readonly numRecomputes: number;
  readonly numRecomputedTokens: number;
  /** Guessed tokens that were verified, and those that were right. */
  readonly numDraftTokens: number;
  readonly numAcceptedTokens: number;
  readonly endedBy: RequestEnd;
}

/** What ended a request. */
export type RequestEnd =
  | "end_token"
  | "stop_token"
  /** Found with the text: the engine itself sees an abort. */
  | "stop_string"
  | "max_tokens"
  /** A score that is complete. */
  | "scored"
  | "abort"
  | "deadline"
  | "error";

/** One step of the engine, as it was. */
export interface StepTrace {
  /** Counted from 0 since start; failed steps are not kept. */
  readonly index: number;
  /** Milliseconds since 1970. */
  readonly beginMs: number;
  readonly durationMs: number;
  readonly numTokens: number;
  /** Who took part, in order, with how many tokens. Scores are named `score-` and a number. */
  readonly active: readonly { readonly requestId: string; readonly numTokens: number }[];
  /** Who was not in the step before. */
  readonly joined: readonly string[];
  /** Who was in the step before and is not in this one: ended, preempted or without a share of the tokens. */
  readonly left: readonly string[];
}

/** `stop`: end token or stop id; `length`: maxTokens or the context is full; `abort`: the client gave up. */
export type FinishReason = "stop" | "length" | "abort" | "error";

export interface TokenLogprobs {
  /** Log-softmax of the raw logits at the drawn token. */
  readonly logprob: number;
  readonly rank: number;
  /** The `SamplingParams.logprobs` most likely tokens, falling. */
  readonly topIds: readonly number[];
  readonly topLogprobs: readonly number[];
}

/** What was added to one request since its last output: by one step, or by more where the reader was late. */
export interface EngineOutput {
  readonly requestId: string;
  /** Empty only in the last output. */
  readonly newTokenIds: readonly number[];
  /** One entry per new token, or null when none were asked for. */
  readonly logprobs: readonly TokenLogprobs[] | null;
  /** Set in the last output only. */
  readonly finishReason: FinishReason | null;
  /** The stop id that ended it; null for the model's own end token, a length stop, or an open request. */
  readonly stopReason: number | null;
  /** Prompt tokens whose KV came from the cache. */
  readonly numCachedTokens: number;
  /** In the first output with a token: milliseconds from the request's arrival to its first step. */
  readonly queuedMs?: number;
  /** In the last output, where the request asked with `explain`. */
  readonly trace?: RequestTrace;
}

export interface ScoreRequest {
  readonly tokenIds: readonly number[] | Int32Array;
  /** Scores tokenIds[start …] each given all before it; start ≥ 1. */
  readonly start: number;
  /** How many most likely tokens to return at each position; 0 for none. */
  readonly topK: number;
  readonly scheduling?: RequestScheduling;
  /** See `GenerateRequest`. */
  readonly adapter?: string;
}

export interface ScoreResult {
  /** [tokenIds.length − start] log-likelihoods, natural logarithm, f32. */
  readonly logprobs: Float32Array;
  /** [same] the most likely token at each position; ties to the lowest id. */
  readonly argmax: Int32Array;
  /** [same, topK] */
  readonly topIds: Int32Array;
  readonly topLogprobs: Float32Array;
  /** Of the prompt's tokens those that were not computed for this; absent where that is not known. */
  readonly numCachedTokens?: number;
}

export interface EmbedRequest {
  /** The whole text, special tokens included; at most `EngineInfo.maxModelLen`. */
  readonly tokenIds: readonly number[] | Int32Array;
}

/** Log-likelihoods of token ids. What `evaluate/` knows of an engine. */
export interface Scorer {
  /** @param signal ends the work, and rejects with its reason */
  score(request: ScoreRequest, signal?: AbortSignal): Promise<ScoreResult>;
}

/** Most guesses for a sequence in one step. */
export const maxSpecTokens = 16;

/** Upper edges of the sizes by which steps are counted, in tokens; vLLM's. One more class holds what is larger. */
export const stepTokenEdges: readonly number[] = [
  1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384,
];

export interface EngineStats {
  readonly numRunning: number;
  readonly numWaiting: number;
  /** Of the waiting ones: those that wait for another to compute a prefix that they share. */
  readonly numDeferred: number;
  /** Prompt tokens of the waiting ones. */
  readonly numWaitingTokens: number;
  /** While the queue takes nothing more: seconds after which a request is likely to get in. Else 0. */
  readonly retryAfterSeconds: number;
  readonly numFreeBlocks: number;
  readonly numTotalBlocks: number;
  readonly blockSize: number;
  /** Totals since start. */
  readonly promptTokens: number;
  readonly generationTokens: number;
  readonly numPreemptions: number;
  readonly numSteps: number;
  /** Tokens of all steps. */
  readonly numStepTokens: number;
  /** [stepTokenEdges.length + 1] steps by their tokens: up to each edge and above the one before. */
  readonly numStepsByTokens: readonly number[];
  /** Milliseconds of all steps: choosing tokens and sequences, running the model, taking and sending results. */
  readonly scheduleMs: number;
  readonly computeMs: number;
  readonly publishMs: number;
  /** How requests and scores ended; each counts in exactly one of the five. */
  readonly numAborted: number;
  readonly numFinished: number;
  /** Not begun. */
  readonly numRefused: number;
  /** Ended by their deadline, waiting or running. */
  readonly numExpired: number;
  /** Ended by a fault of the model or of a step. */
  readonly numFailed: number;
  /** Preempted sequences that wait in the host tier. */
  readonly numSwapped: number;
  /** Prompt tokens that were looked up in the prefix cache, and those of them that it had; totals. */
  readonly prefixCacheQueries: number;
  readonly prefixCacheHits: number;
  /** Blocks moved to the host tier, and tokens given up to be computed again, by preemption; totals. */
  readonly numSwappedBlocks: number;
  readonly numRecomputedTokens: number;
  /** Blocks that a self-check of the prefix cache found different; must be 0. */
  readonly numPrefixMismatches: number;
  /** Steps of sequences that verified guesses, the guessed tokens, and those that were right; totals. */
  readonly numDrafts: number;
  readonly numDraftTokens: number;
  readonly numAcceptedTokens: number;
  /** 1 once making guesses has failed: there are none from then on. */
  readonly numSpeculationFailures: number;
  /** [maxSpecTokens] the same tokens by position: the first guess of a step, the second, … */
  readonly numDraftTokensPerPos: readonly number[];
  readonly numAcceptedTokensPerPos: readonly number[];
  /** Milliseconds since the last step ended; 0 while idle. Health is judged by it. */
  readonly lastStepAgeMs: number;
}

/** What is served, as the engine sees it after loading. */
export interface EngineInfo {
  readonly architecture: string;
  /** Length of the vectors of an embedding model, which does nothing else; null for a language model. */
  readonly embeddingSize: number | null;
  readonly vocabSize: number;
  /** Longest context here, in tokens, and the longest that the model was made for. */
  readonly maxModelLen: number;
  readonly maxPositions: number;
  readonly maxNumSeqs: number;
  readonly maxNumBatchedTokens: number;
  /** Most requests of one sender that may wait: of more that come together, some are refused. */
  readonly maxNumQueuedRequests: number;
  /** Most prompt tokens that may wait, but for a single request; 0 for no cap. */
  readonly maxNumQueuedTokens: number;
  readonly numTotalBlocks: number;
  readonly blockSize: number;
  readonly kvDtype: string;
  readonly backend: string;
  readonly isa: string;
  readonly attentionDtype: string;
  readonly numThreads: number;
  readonly activations: string;
  readonly dtype: string;
  readonly eosTokenIds: readonly number[];
  /** Bytes. */
  readonly memory: { readonly weights: number; readonly kvCache: number; readonly arena: number };
  /** Milliseconds by phase: open, pack, kv, total. */
  readonly loadTimesMs: Readonly<Record<string, number>>;
  /** Lines to show at start: form of the weights, activation note, … */
  readonly notes: readonly string[];
}

/** An adapter on disk, and the name that requests give it. */
export interface AdapterSource {
  readonly name: string;
  /** A folder as PEFT writes it. */
  readonly path: string;
}

export interface AdapterInfo extends AdapterSource {
  /** Largest rank of its matrices. */
  readonly rank: number;
  readonly sizeBytes: number;
}

/** LoRA adapters of an engine's model: any number of them in one batch, chosen by each request. */
export interface AdapterHost {
  /** Adapters that the engine was started with. */
  readonly initial: readonly AdapterInfo[];
  /** Most that may be loaded at once; any number of them share a batch. */
  readonly maxNumAdapters: number;
  /**
   * Reads an adapter's files, between two steps. Errors: `invalid_adapter`, `unsupported_adapter`, `adapter_exists`,
   * `too_many_adapters`, `out_of_memory`.
   */
  load(source: AdapterSource): Promise<AdapterInfo>;
  /** Takes no more requests for it; those that are open are finished. Errors: `adapter_not_found`. */
  unload(name: string): Promise<void>;
}

/**
 * The only thing that the server, the evaluator and the commands know of an engine. Implementations: worker thread,
 * in process, scripted fake. Errors of one request reject its iteration and touch nothing else.
 */
export interface EngineClient extends Scorer {
  readonly info: EngineInfo;
  /** Yields outputs until one has a finishReason. Leaving the loop early aborts the request. */
  generate(request: GenerateRequest): AsyncIterable<EngineOutput>;
  /**
   * One vector for a text, [info.embeddingSize] f32, pooled and scaled as the model's files say. Rejects with
   * `invalid_request` where the engine runs a language model. The signal gives a waiting text up.
   */
  embed(request: EmbedRequest, signal?: AbortSignal): Promise<Float32Array>;
  /** Ends an open request and frees its blocks; unknown ids are ignored. */
  abort(requestId: string): void;
  stats(): Promise<EngineStats>;
  /** The newest steps, oldest first; at most 256. */
  recentSteps(): Promise<readonly StepTrace[]>;
  /** The lives of the requests and scores that ended last, oldest first; at most 256. */
  recentRequests(): Promise<readonly RequestTrace[]>;
  /** Forgets what the prefix cache holds; requests that run keep what they use. */
  resetPrefixCache(): void;
  /** Null where the engine was not started for adapters. */
  readonly adapters: AdapterHost | null;
  /** Aborts what is open and frees everything. */
  close(): Promise<void>;
}
