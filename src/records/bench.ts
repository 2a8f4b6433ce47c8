import { z } from "zod";
import { failureKinds } from "../base/failure-kinds.ts";
import { distributionSchema, loadFiguresSchema } from "./load-figures.ts";
import { originSchema } from "./origin.ts";

/** One request as the load generator saw it. Times are milliseconds since the stage began. */
export const requestRecordSchema = z.object({
  index: z.number().int(),
  /** Place in its conversation, from 0; the requests of one have one index. */
  turn: z.number().int(),
  /** Which of several endpoints it went to, from 0. */
  endpoint: z.number().int(),
  /** When it was due; null where the answer before it decides. */
  dueMs: z.number().nullable(),
  sentMs: z.number(),
  /** First event that carried a token; null when none came. */
  firstTokenMs: z.number().nullable(),
  lastTokenMs: z.number().nullable(),
  endMs: z.number(),
  /** Tokens that the answer was to have; null where the model was to end it. */
  askedOutputTokens: z.number().int().nullable(),
  /** From the server's `usage`; null when it sent none. */
  promptTokens: z.number().int().nullable(),
  outputTokens: z.number().int().nullable(),
  /** Prompt tokens that the server's prefix cache had, by `usage`; null where it does not say. */
  cachedTokens: z.number().int().nullable(),
  /** Arrival of every event that carried text, in order. */
  chunkMs: z.array(z.number()),
  /** Events that came in one read with the event before: no gap of ITL lies between them. */
  coalesced: z.array(z.boolean()),
  /** Output tokens of each of these events; null where the server does not count in every event. */
  chunkTokens: z.array(z.number().int()).nullable(),
  finishReason: z.string().nullable(),
  /** HTTP status; 0 without an answer. */
  status: z.number().int(),
  /** Null for a good request; else what went wrong. */
  error: z.string().nullable(),
  /** What kind of error that is; `censored` is none, but a request that the end of the load cut off. */
  errorKind: z.enum(failureKinds).nullable(),
  /** Seconds after which a refusal asks to come again. */
  retryAfterSeconds: z.number().nullable(),
});
export type RequestRecord = z.infer<typeof requestRecordSchema>;

/** Closed loop: so many patient users, each sending the next request when its answer is complete. */
export const stageSchema = loadFiguresSchema.extend({ concurrency: z.number().int().positive() });
export type BenchStage = z.infer<typeof stageSchema>;

/** Open loop: requests come when they are due, whether or not earlier ones were answered. */
export const rateStageSchema = loadFiguresSchema.extend({
  /** Requests per second that were asked for, on average where the rate changes; `inf`: all at once. */
  requestRate: z.union([z.number().nonnegative(), z.literal("inf")], {
    error: "it takes a number of at least 0, or inf",
  }),
  /** Shape of the gamma distribution of gaps, 1 for Poisson arrivals; `inf`: even gaps. Null for a trace. */
  burstiness: z.union([z.number(), z.literal("inf")]).nullable(),
  /** How they come, in words. */
  arrivals: z.string(),
  /** Most requests in flight; null for no limit. */
  maxConcurrency: z.number().int().nullable(),
  /** Whether that limit held requests back: from then on users wait for answers, as in a closed loop. */
  becameClosed: z.boolean(),
  /**
   * First token − due, and stream end − due: what somebody who came at that time has waited. A later turn of a conversation is
   * due when it is sent, as the answer before it decides.
   */
  ttftFromDueMs: distributionSchema.nullable(),
  e2eFromDueMs: distributionSchema.nullable(),
});
export type RateStage = z.infer<typeof rateStageSchema>;

export const workloadSchema = z.object({
  /** Means where lengths differ; 0 where a file does not say. */
  inputTokens: z.number().int(),
  outputTokens: z.number().int(),
  promptForm: z.enum(["token-ids", "text", "chat"]),
  /** Words of a text prompt, calibrated on the warm-up; null for token ids and files. */
  numWords: z.number().int().nullable(),
  seed: z.number().int(),
  numWarmup: z.number().int(),
  /** What is sent, in words. */
  description: z.string(),
  /** Whether prompts are unlike each other, so that no prefix cache helps, or share beginnings on purpose. */
  caches: z.enum(["cold", "primed", "shared"]),
});

export const benchRecordSchema = z.object({
  kind: z.literal("bench"),
  /** Of the load; its machine is the client's. */
  origin: originSchema,
  url: z.string(),
  model: z.string(),
  workload: workloadSchema,
  /** What an hour of the server costs, in any currency; null where nobody said. */
  pricePerHour: z.number().nullable(),
  stages: z.array(stageSchema),
  /** Stages with a request rate. */
  rates: z.array(rateStageSchema),
});
export type BenchRecord = z.infer<typeof benchRecordSchema>;
