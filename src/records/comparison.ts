import { z } from "zod";
import { benchRecordSchema } from "./bench.ts";
import { originSchema } from "./origin.ts";

/** A document that only one model answered right, with what either answered. */
export const changedAnswerSchema = z.object({
  task: z.string(),
  metric: z.string(),
  /** `lost`: the base is right, the compressed model wrong. */
  change: z.enum(["lost", "gained"]),
  docId: z.int(),
  prompt: z.string(),
  target: z.string(),
  /** Of a choice: each possible answer with its log-likelihood from base and compressed model. Null for written answers. */
  choices: z.array(z.object({ text: z.string(), base: z.number(), compressed: z.number() })).nullable(),
  /** What each wrote; null for choices. */
  written: z.object({ base: z.string(), compressed: z.string() }).nullable(),
});
export type ChangedAnswer = z.infer<typeof changedAnswerSchema>;

/** How one model was served while it was load-tested. */
export const servingRecordSchema = z.object({
  kind: z.literal("serving"),
  fingerprint: z.string(),
  /** Name and version of the server. */
  server: z.string(),
  /** From start of the process to the first ready answer. */
  readyMs: z.number(),
  /** Resident size of the server's process, ready and before the first request; null where the system does not tell. */
  readyMemoryBytes: z.number().nullable(),
  /** Highest resident size of the process from its start to the end of the load. */
  peakMemoryBytes: z.number().nullable(),
  /** What the server's engine allocated, in bytes, as it counts; null where it does not tell. */
  memoryPlan: z.object({ weights: z.number(), kvCache: z.number(), activations: z.number() }).nullable(),
  bench: benchRecordSchema,
});
export type ServingRecord = z.infer<typeof servingRecordSchema>;

/** Documents whose answer is right on one side only, by `doc_id`. */
export const flipsSchema = z.object({
  /** The base is right, the compressed model wrong. */
  lost: z.array(z.int()),
  /** The base is wrong, the compressed model right. */
  gained: z.array(z.int()),
});
export type Flips = z.infer<typeof flipsSchema>;

/** Documents of a task that one run has and the other has not, by `doc_id`; no figure contains them. */
export const unpairedSchema = z.object({
  task: z.string(),
  onlyBase: z.array(z.int()),
  onlyCompressed: z.array(z.int()),
});
export type UnpairedDocuments = z.infer<typeof unpairedSchema>;

/** One task's or group's metric of both models, over the same documents. */
export const accuracyRowSchema = z.object({
  task: z.string(),
  /** The group that reports it together with others; null where there is none. */
  parent: z.string().nullable(),
  metric: z.string(),
  higherIsBetter: z.boolean(),
  numDocuments: z.number().int(),
  base: z.number(),
  baseStderr: z.number().nullable(),
  compressed: z.number(),
  compressedStderr: z.number().nullable(),
  /** compressed / base, inverted where lower is better; null when base is 0. */
  recovery: z.number().nullable(),
  /** compressed − base, in the metric's unit, with its 95 % paired interval; null where the documents give none. */
  difference: z.number(),
  differenceLow: z.number().nullable(),
  differenceHigh: z.number().nullable(),
  /** The smallest true difference that so many documents show in 4 runs of 5 (power 80 %, two-sided 5 %). */
  detectable: z.number().nullable(),
  /** 95 % paired interval of the recovery over documents; null where they give none. */
  recoveryLow: z.number().nullable(),
  recoveryHigh: z.number().nullable(),
  /** Answers that only the base, or only the compressed model, got right; null for metrics without right and wrong. */
  numFlips: z.object({ lost: z.int(), gained: z.int() }).nullable(),
  /** Which ones; null for groups too, whose tasks name them. */
  flips: flipsSchema.nullable(),
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
  /** Half the 95 % interval of each side's figure, as a share of it; null when its stage has fewer than two slices. */
  baseSpread: z.number().nullable(),
  compressedSpread: z.number().nullable(),
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
  /** As stored. */
  weights: z.string(),
  /** The type that they become at loading; null where they run as stored. */
  runAs: z.string().nullable(),
  /** Bytes of the weight files on disk. */
  sizeBytes: z.number(),
  serving: servingRecordSchema.nullable(),
});
export type Variant = z.infer<typeof variantSchema>;

/** When and where one part of a comparison was measured; parts that were kept keep theirs. */
export const measurementSchema = originSchema.extend({
  part: z.enum(["quantisation", "accuracy", "serving and load"]),
  side: z.enum(["base", "compressed"]),
});
export type Measurement = z.infer<typeof measurementSchema>;

export const comparisonSchema = z.object({
  kind: z.literal("comparison"),
  /** Sentences that sum it up: quality, size and memory, speed. */
  verdict: z.array(z.string()),
  /** Version of Millrace that wrote this, and when; what was measured bears its own in `measurements`. */
  version: z.string(),
  writtenAt: z.string(),
  measurements: z.array(measurementSchema),
  scheme: z.string(),
  base: variantSchema,
  compressed: variantSchema,
  accuracy: z.array(accuracyRowSchema),
  unpaired: z.array(unpairedSchema),
  /** The first of each task and change. */
  changed: z.array(changedAnswerSchema),
  speed: z.array(speedRowSchema),
  notes: z.array(z.string()),
});
export type ComparisonRecord = z.infer<typeof comparisonSchema>;
