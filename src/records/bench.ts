import { z } from "zod";
import { originSchema } from "./origin.ts";

/** One request as the load generator saw it. Times are milliseconds since the stage began. */
export const requestRecordSchema = z.object({
  index: z.number().int(),
  /** When it was due; null where the answer before it decides. */
  dueMs: z.number().nullable(),
  sentMs: z.number(),
  /** First event that carried a token; null when none came. */
  firstTokenMs: z.number().nullable(),
  lastTokenMs: z.number().nullable(),
  endMs: z.number(),
  /** From the server's `usage`; null when it sent none. */
  promptTokens: z.number().int().nullable(),
  outputTokens: z.number().int().nullable(),
  /** Arrival of every event that carried text, in order. */
  chunkMs: z.array(z.number()),
  /** Events that came in one read with the event before: no gap of ITL lies between them. */
  coalesced: z.array(z.boolean()),
  finishReason: z.string().nullable(),
  /** Null for a good request; else what went wrong. */
  error: z.string().nullable(),
});
export type RequestRecord = z.infer<typeof requestRecordSchema>;

/** A distribution in milliseconds. */
export const distributionSchema = z.object({
  count: z.number().int(),
  mean: z.number(),
  p50: z.number(),
  p90: z.number(),
  p95: z.number(),
  p99: z.number(),
  max: z.number(),
  /** Percentiles with too few samples for a one-sided 95 % bound (p90 needs 29, p95 59, p99 299). */
  weak: z.array(z.enum(["p90", "p95", "p99"])),
});
export type Distribution = z.infer<typeof distributionSchema>;

/** Consecutive completions of a stage, taken as one sample of its speed. */
export const sliceSchema = z.object({
  numRequests: z.number().int(),
  outputTokensPerSecond: z.number(),
  /** Means over the requests of the slice, in milliseconds; null where no request has the figure. */
  ttftMs: z.number().nullable(),
  tpotMs: z.number().nullable(),
  e2eMs: z.number().nullable(),
});
export type StageSlice = z.infer<typeof sliceSchema>;

/** How the client that made the load fared: where it was late or busy, it has measured itself. */
export const clientHealthSchema = z.object({
  /** Share of one core that it used. */
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

/** Figures of a load that stayed the same for a while. The window is all of it, ramp and drain included. */
export const loadFiguresSchema = z.object({
  numRequests: z.number().int(),
  numErrors: z.number().int(),
  firstError: z.string().nullable(),
  durationMs: z.number(),
  promptTokens: z.number().int(),
  /** Mean prompt length of the good requests as the server counts; null when it sends no `usage`. */
  meanPromptTokens: z.number().nullable(),
  outputTokens: z.number().int(),
  outputTokensPerSecond: z.number(),
  totalTokensPerSecond: z.number(),
  requestsPerSecond: z.number(),
  /** First token − sent. */
  ttftMs: distributionSchema.nullable(),
  /** (last token − first token) / (output tokens − 1), one value per request. */
  tpotMs: distributionSchema.nullable(),
  /** Gaps between arrivals of a request, pooled over requests (vLLM's ITL). Tokens that arrive together have no gap. */
  itlMs: distributionSchema.nullable(),
  /** Output tokens per arrival; above 1, ITL is longer than the time per token. Null without output. */
  tokensPerArrival: z.number().nullable(),
  /** Stream end − sent. */
  e2eMs: distributionSchema.nullable(),
  /** Requests in flight, averaged over time. */
  meanInFlight: z.number(),
  client: clientHealthSchema,
  /** In order of completion; the spread between them says how sure the stage's figures are. */
  slices: z.array(sliceSchema),
});
export type LoadFigures = z.infer<typeof loadFiguresSchema>;

/** Closed loop: so many patient users, each sending the next request when its answer is complete. */
export const stageSchema = loadFiguresSchema.extend({ concurrency: z.number().int() });
export type BenchStage = z.infer<typeof stageSchema>;

/** Open loop: requests come when they are due, whether or not earlier ones were answered. */
export const rateStageSchema = loadFiguresSchema.extend({
  /** Requests per second that were asked for; `inf`: all at once. */
  requestRate: z.union([z.number(), z.literal("inf")]),
  /** Shape of the gamma distribution of gaps, 1 for Poisson arrivals; `inf`: even gaps. */
  burstiness: z.union([z.number(), z.literal("inf")]),
  /** Most requests in flight; null for no limit. */
  maxConcurrency: z.number().int().nullable(),
  /** Whether that limit held requests back: from then on users wait for answers, as in a closed loop. */
  becameClosed: z.boolean(),
  /** First token − due, and stream end − due: what somebody who came at that time has waited. */
  ttftFromDueMs: distributionSchema.nullable(),
  e2eFromDueMs: distributionSchema.nullable(),
});
export type RateStage = z.infer<typeof rateStageSchema>;

export const benchRecordSchema = z.object({
  kind: z.literal("bench"),
  /** Of the load; its machine is the client's. */
  origin: originSchema,
  url: z.string(),
  model: z.string(),
  workload: z.object({
    inputTokens: z.number().int(),
    outputTokens: z.number().int(),
    promptForm: z.enum(["token-ids", "text"]),
    /** Words of a text prompt, calibrated on the warm-up; null for token ids. */
    numWords: z.number().int().nullable(),
    seed: z.number().int(),
    numWarmup: z.number().int(),
  }),
  stages: z.array(stageSchema),
  /** Stages with a request rate. */
  rates: z.array(rateStageSchema),
});
export type BenchRecord = z.infer<typeof benchRecordSchema>;
