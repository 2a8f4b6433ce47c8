import { z } from "zod";
import { failureKinds } from "../base/failure-kinds.ts";

const count = z.number().int().nonnegative();
const rate = z.number().nonnegative();

/** A percentile's distribution-free 95 % interval, between two order statistics; null where the samples are too few. */
const intervalSchema = z.tuple([z.number(), z.number()]).nullable();

/** A distribution, mostly in milliseconds. */
export const distributionSchema = z.object({
  count: z.number().int(),
  mean: z.number(),
  /** Standard deviation of the samples (n − 1); 0 for one. */
  std: z.number(),
  min: z.number(),
  p50: z.number(),
  p90: z.number(),
  p95: z.number(),
  p99: z.number(),
  max: z.number(),
  /** Percentiles with too few samples for a one-sided 95 % bound (p90 needs 29, p95 59, p99 299). */
  weak: z.array(z.enum(["p90", "p95", "p99"])),
  intervals: z.object({
    p50: intervalSchema,
    p90: intervalSchema,
    p95: intervalSchema,
    p99: intervalSchema,
  }),
});
export type Distribution = z.infer<typeof distributionSchema>;

/** Consecutive completions of a stage, taken as one sample of its speed. */
export const sliceSchema = z.object({
  numRequests: z.number().int(),
  outputTokensPerSecond: z.number(),
  /** Means over the requests of the slice, in milliseconds, from when they were due, where they were; null where none has it. */
  ttftMs: z.number().nullable(),
  tpotMs: z.number().nullable(),
  e2eMs: z.number().nullable(),
});
export type StageSlice = z.infer<typeof sliceSchema>;

/** How the client that made the load fared: where it was late or busy, it has measured itself. */
export const clientHealthSchema = z.object({
  /** Share of one core that each of its threads used. */
  cpuShare: z.number(),
  /** How much later than asked its event loop ran, 99th percentile. */
  eventLoopDelayP99Ms: z.number(),
  /** Sent − due; null without due times. */
  scheduleDelayMs: distributionSchema.nullable(),
  /** Requests that were due and not sent. */
  numUnsent: z.number().int(),
  /** Why the figures beside it do not count; empty where they do. */
  faults: z.array(z.string()),
});
export type ClientHealth = z.infer<typeof clientHealthSchema>;

/** Rates over one span of time; input and output add up to the total. */
export const ratesSchema = z.object({
  requestsPerSecond: z.number(),
  inputTokensPerSecond: z.number(),
  outputTokensPerSecond: z.number(),
  totalTokensPerSecond: z.number(),
});
export type Rates = z.infer<typeof ratesSchema>;

/** Throughput by its three meanings. */
export const throughputSchema = z.object({
  /** What was asked for: requests that were due, or sent where none was due, with the tokens asked for. */
  offered: ratesSchema,
  /** Good requests that ended in the window, with all of their tokens; ramp and drain are in. */
  completed: ratesSchema,
  /**
   * Tokens by the time at which they came, while the load was at its height: from the first time that 95 % of the highest
   * concurrency was in flight to the last. Prompts count when their first token comes. Null where that time is too short.
   */
  steady: ratesSchema.extend({ startMs: z.number(), endMs: z.number() }).nullable(),
});

/** How many requests were in flight. */
export const inFlightSchema = z.object({
  /** Averaged over time. */
  mean: z.number(),
  /** Half of the time there were at most so many. */
  p50: z.number(),
  p90: z.number(),
  max: z.number().int(),
  /** Second by second, at most 600 spans of equal length: the mean in flight, output tokens per second, ends per second. */
  timeline: z.array(
    z.object({
      atMs: z.number(),
      inFlight: z.number(),
      outputTokensPerSecond: z.number(),
      requestsPerSecond: z.number(),
    }),
  ),
  /** Length of a span of the timeline. */
  spanMs: z.number(),
});

/** Requests that met every target. */
export const goodputSchema = z.object({
  /** Targets of a request, in milliseconds. */
  targets: z.array(z.object({ metric: z.enum(["ttft", "tpot", "e2e"]), maxMs: z.number() })),
  /** Good and within all targets. */
  numGood: z.number().int(),
  /** Good or not; requests in flight at the end are left out. */
  numJudged: z.number().int(),
  requestsPerSecond: z.number(),
  share: z.number(),
  /** 95 % interval of the share (Wilson 1927). */
  shareInterval: z.tuple([z.number(), z.number()]),
  /** The share if every request in flight at the end failed its targets, and if each met them. */
  censoredBounds: z.tuple([z.number(), z.number()]),
});
export type Goodput = z.infer<typeof goodputSchema>;

/** Requests of a stage that started before it was steady. */
export const warmupSchema = z.object({
  /** Requests, in order of their start, that are slower than the rest; 0 where none are. */
  numRequests: z.number().int(),
  endMs: z.number(),
});

/** Output lengths beside what was asked for. */
export const lengthsSchema = z.object({
  /** Good requests with a length asked for. */
  numChecked: z.number().int(),
  /** Of these, those with another length. */
  numOff: z.number().int(),
});

const gaugeSchema = z.object({ mean: z.number(), max: z.number() }).nullable();

/** What the server's `GET /metrics` said during the stage; vLLM's names. Null where it has no such figure. */
export const serverFiguresSchema = z.object({
  numSamples: z.number().int(),
  running: gaugeSchema,
  waiting: gaugeSchema,
  /** Share of KV blocks in use, 0 to 1; the mean where there are several caches. */
  kvCacheUsage: gaugeSchema,
  preemptions: z.number().nullable(),
  /** Prompt tokens that the prefix cache had, as a share of those looked up. */
  prefixHitRate: z.number().nullable(),
  promptTokens: z.number().nullable(),
  generationTokens: z.number().nullable(),
  /** Mean TTFT by the server's own histogram, in milliseconds. */
  meanTtftMs: z.number().nullable(),
  /** What to do about it. */
  advice: z.array(z.string()),
});
export type ServerFigures = z.infer<typeof serverFiguresSchema>;

/** The server's processes, seen from outside; for a server on this machine. */
export const serverProcessSchema = z.object({
  pid: z.number().int(),
  /** Highest resident size during the stage, summed over its processes. */
  peakBytes: z.number(),
  /** Cores that it used, on average. */
  cores: z.number(),
});
export type ServerProcess = z.infer<typeof serverProcessSchema>;

/** Figures of a load that stayed the same for a while. The window is all of it, ramp and drain included. */
export const loadFiguresSchema = z.object({
  numRequests: count,
  numErrors: count,
  firstError: z.string().nullable(),
  /** Errors by what they were; kinds without any are left out. */
  errorsByKind: z.partialRecord(z.enum(failureKinds), z.number().int()),
  /** In flight when the window ended: neither good nor errors. */
  numCensored: count,
  durationMs: z.number().positive(),
  promptTokens: count,
  /** Mean prompt length of the good requests as the server counts; null when it sends no `usage`. */
  meanPromptTokens: z.number().nullable(),
  outputTokens: count,
  outputTokensPerSecond: rate,
  totalTokensPerSecond: rate,
  requestsPerSecond: rate,
  throughput: throughputSchema,
  /** First token − sent. */
  ttftMs: distributionSchema.nullable(),
  /** (last token − first token) / (output tokens − 1), one value per request. */
  tpotMs: distributionSchema.nullable(),
  /** Gaps between arrivals of a request, pooled over requests (vLLM's ITL). Tokens that arrive together have no gap. */
  itlMs: distributionSchema.nullable(),
  /** Output tokens per arrival; above 1, ITL is longer than the time per token. Null without output. */
  tokensPerArrival: z.number().nullable(),
  /** Output tokens in an event, where the server counts them in every event (`continuous_usage_stats`). */
  tokensPerChunk: distributionSchema.nullable(),
  /** Stream end − sent. */
  e2eMs: distributionSchema.nullable(),
  /** (stream end − sent) / output tokens: TTFT is in it. */
  e2ePerTokenMs: distributionSchema.nullable(),
  /** Requests in flight, averaged over time. */
  meanInFlight: rate,
  inFlight: inFlightSchema,
  goodput: goodputSchema.nullable(),
  warmup: warmupSchema,
  lengths: lengthsSchema,
  /** Prompt tokens that the server says it had in its cache; null where it does not say. */
  cachedTokens: z.number().int().nullable(),
  server: serverFiguresSchema.nullable(),
  serverProcess: serverProcessSchema.nullable(),
  client: clientHealthSchema,
  /** In order of completion; the spread between them says how sure the stage's figures are. */
  slices: z.array(sliceSchema),
});
export type LoadFigures = z.infer<typeof loadFiguresSchema>;
