import { z } from "zod";

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
  /** Events that came in one read with the event before: their gaps are left out of ITL. */
  coalesced: z.array(z.boolean()),
  finishReason: z.string().nullable(),
  /** Null for a good request; else what went wrong. */
  error: z.string().nullable(),
});
export type RequestRecord = z.infer<typeof requestRecordSchema>;

/** A distribution in milliseconds. `marks` names percentiles that the number of samples cannot carry. */
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

export const stageSchema = z.object({
  concurrency: z.number().int(),
  numRequests: z.number().int(),
  numErrors: z.number().int(),
  firstError: z.string().nullable(),
  durationMs: z.number(),
  promptTokens: z.number().int(),
  outputTokens: z.number().int(),
  outputTokensPerSecond: z.number(),
  totalTokensPerSecond: z.number(),
  requestsPerSecond: z.number(),
  /** First token − sent. */
  ttftMs: distributionSchema.nullable(),
  /** Gaps between events of a request, pooled over requests (vLLM's ITL). */
  itlMs: distributionSchema.nullable(),
  /** (last token − first token) / (output tokens − 1), one value per request. */
  tpotMs: distributionSchema.nullable(),
  /** Stream end − sent. */
  e2eMs: distributionSchema.nullable(),
  /** Share of one core that the client itself used; near 1 the client is what is measured. */
  clientCpuShare: z.number(),
});
export type BenchStage = z.infer<typeof stageSchema>;

export const benchRecordSchema = z.object({
  kind: z.literal("bench"),
  version: z.string(),
  startedAt: z.string(),
  url: z.string(),
  model: z.string(),
  machine: z.string(),
  workload: z.object({
    inputTokens: z.number().int(),
    outputTokens: z.number().int(),
    promptForm: z.enum(["token-ids", "text"]),
    seed: z.number().int(),
    numWarmup: z.number().int(),
  }),
  stages: z.array(stageSchema),
});
export type BenchRecord = z.infer<typeof benchRecordSchema>;
