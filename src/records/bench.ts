import { z } from "zod";
import { originSchema } from "./origin.ts";

/** One request as the load generator saw it. Times are milliseconds since the stage began. */
export const requestRecordSchema = z.object({
  index: z.number().int(),
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

export const stageSchema = z.object({
  concurrency: z.number().int(),
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
  /** Share of one core that the client itself used; near 1 the client is what is measured. */
  clientCpuShare: z.number(),
  /** In order of completion; the spread between them says how sure the stage's figures are. */
  slices: z.array(sliceSchema),
});
export type BenchStage = z.infer<typeof stageSchema>;

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
});
export type BenchRecord = z.infer<typeof benchRecordSchema>;
