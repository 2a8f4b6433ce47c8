import { z } from "zod";
import { benchRecordSchema } from "./bench.ts";

/** How one model was served while it was load-tested. */
export const servingRecordSchema = z.object({
  kind: z.literal("serving"),
  fingerprint: z.string(),
  /** Name and version of the server. */
  server: z.string(),
  /** From start of the process to the first ready answer. */
  readyMs: z.number(),
  /** Highest resident size of the server's process; null where the system does not tell. */
  peakMemoryBytes: z.number().nullable(),
  /** What the server set aside at start, in bytes; null where it does not tell. */
  memoryPlan: z.object({ weights: z.number(), kvCache: z.number(), activations: z.number() }).nullable(),
  bench: benchRecordSchema,
});
export type ServingRecord = z.infer<typeof servingRecordSchema>;

/** One task's metric of both models, over the same documents. */
export const accuracyRowSchema = z.object({
  task: z.string(),
  metric: z.string(),
  higherIsBetter: z.boolean(),
  numDocuments: z.number().int(),
  base: z.number(),
  baseStderr: z.number().nullable(),
  compressed: z.number(),
  compressedStderr: z.number().nullable(),
  /** compressed / base, inverted where lower is better; null when base is 0. */
  recovery: z.number().nullable(),
  /** 95 % paired bootstrap interval of the recovery over documents; null with fewer than 10 documents. */
  recoveryLow: z.number().nullable(),
  recoveryHigh: z.number().nullable(),
  /** Documents that only the base, or only the compressed model, got right; null for metrics without right and wrong. */
  lost: z.number().int().nullable(),
  gained: z.number().int().nullable(),
  /** McNemar's exact two-sided test. */
  pValue: z.number().nullable(),
});
export type AccuracyRow = z.infer<typeof accuracyRowSchema>;

/** One figure of both models at one concurrency. */
export const speedRowSchema = z.object({
  concurrency: z.number().int(),
  metric: z.enum(["outputTokensPerSecond", "ttftMs", "tpotMs", "e2eMs"]),
  base: z.number(),
  compressed: z.number(),
  /** compressed / base. */
  ratio: z.number(),
  /** 95 % interval of the ratio; null when a stage has fewer than two slices. */
  ratioLow: z.number().nullable(),
  ratioHigh: z.number().nullable(),
  /** Slices of the base's stage and of the compressed model's. */
  numSlices: z.tuple([z.number().int(), z.number().int()]),
  verdict: z.enum(["faster", "slower", "no difference that this run can show", "too few requests to tell"]),
});
export type SpeedRow = z.infer<typeof speedRowSchema>;

export const variantSchema = z.object({
  /** "base" or "compressed" stand for the columns; this is the model's own name. */
  name: z.string(),
  weights: z.string(),
  /** Bytes of the weight files on disk. */
  sizeBytes: z.number(),
  serving: servingRecordSchema.nullable(),
});
export type Variant = z.infer<typeof variantSchema>;

export const comparisonSchema = z.object({
  kind: z.literal("comparison"),
  version: z.string(),
  createdAt: z.string(),
  machine: z.string(),
  scheme: z.string(),
  base: variantSchema,
  compressed: variantSchema,
  accuracy: z.array(accuracyRowSchema),
  speed: z.array(speedRowSchema),
  notes: z.array(z.string()),
});
export type ComparisonRecord = z.infer<typeof comparisonSchema>;
