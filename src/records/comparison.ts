import { z } from "zod";
import { benchRecordSchema } from "./bench.ts";
import { loadComparisonSchema } from "./load-comparison.ts";
import { loadLevelSchema } from "./load-level.ts";
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
  /** Where the records of its requests are. */
  folder: z.string(),
  /** From 1. */
  round: z.int(),
  /** Name and version of the server. */
  server: z.string(),
  /** What it was started with. */
  flags: z.string(),
  /** From start of the process to the first ready answer. */
  readyMs: z.number().nullable(),
  /** Resident size of the server's process, ready and before the first request; null where the system does not tell. */
  readyMemoryBytes: z.number().nullable(),
  /** Highest resident size of the process from its start to the end of the load. */
  peakMemoryBytes: z.number().nullable(),
  /** What the server's engine allocated, in bytes, as it counts; null where it does not tell. */
  memoryPlan: z.object({ weights: z.number(), kvCache: z.number(), activations: z.number() }).nullable(),
  /** Tokens that its KV cache holds; null where it does not tell. */
  kvCacheTokens: z.number().nullable(),
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

/** One figure of both models at one load. */
export const speedRowSchema = z.object({
  /** `25 in flight`, `1.3 requests/s`, `all at once`. */
  level: z.string(),
  metric: z.enum(["outputTokensPerSecond", "ttftMs", "tpotMs", "e2eMs"]),
  base: z.number(),
  compressed: z.number(),
  /** compressed / base. */
  ratio: z.number(),
  /** 95 % interval of the ratio, from rounds and slices; null where a stage has fewer than two of both. */
  ratioLow: z.number().nullable(),
  ratioHigh: z.number().nullable(),
  /** Slices of the base's stage and of the compressed model's. */
  numSlices: z.tuple([z.number().int(), z.number().int()]),
  /** Rounds in which both were loaded, where their pairs alone gave the interval; else null. */
  numPairedRounds: z.number().int().nullable(),
  verdict: z.enum([
    "faster",
    "slower",
    "no difference that this run can show",
    "nothing to tell the noise by",
    "does not count: the client was late",
    "does not count: requests failed",
  ]),
});
export type SpeedRow = z.infer<typeof speedRowSchema>;

/** What the processes of one variant took, over all rounds. */
export const servingFactsSchema = z.object({
  /** Means over the rounds; null where the system does not tell. */
  readyMs: z.number().nullable(),
  readyMemoryBytes: z.number().nullable(),
  /** Highest of all rounds. */
  peakMemoryBytes: z.number().nullable(),
  memoryPlan: servingRecordSchema.shape.memoryPlan,
  numRounds: z.int(),
});
export type ServingFacts = z.infer<typeof servingFactsSchema>;

/** One of the things that are compared: a model, as one engine serves it. */
export const variantSchema = z.object({
  /** What stands in tables and sentences: `w8a8`, `base`. */
  name: z.string(),
  /** Weights as stored; null where a file does not say. */
  weights: z.string().nullable(),
  /** The type that they become at loading; null where they run as stored. */
  runAs: z.string().nullable(),
  /** Bytes of the weight files on disk; null where they are not at hand. */
  sizeBytes: z.number().nullable(),
  /** Folder of its answers to the tasks, from the folder of the record; null where there are none. */
  evaluation: z.string().nullable(),
  /** What served it, or what measured it: name and version. */
  engine: z.string().nullable(),
  serving: servingFactsSchema.nullable(),
  levels: z.array(loadLevelSchema),
  /** sha256 over the weight files, and over all answers to the tasks: equal hashes are equal bytes. Null where not known. */
  hashes: z.object({ weights: z.string().nullable(), answers: z.string().nullable() }),
  /** What decides its figures, by name. */
  settings: z.record(z.string(), z.string()),
  /** Why it could not be served or measured, in words; null where it could. */
  failure: z.object({ kind: z.string(), message: z.string() }).nullable(),
});
export type Variant = z.infer<typeof variantSchema>;

/** A variant against the first one. */
export const pairSchema = z.object({
  variant: z.string(),
  accuracy: z.array(accuracyRowSchema),
  unpaired: z.array(unpairedSchema),
  /** The first of each task and change. */
  changed: z.array(changedAnswerSchema),
  speed: z.array(speedRowSchema),
  /** Sentences that sum it up: quality, size and memory, speed. */
  verdict: z.array(z.string()),
});
export type Pair = z.infer<typeof pairSchema>;

/** A setting that is not the same everywhere; values in the order of the variants, null where one has no such setting. */
export const settingDifferenceSchema = z.object({
  setting: z.string(),
  values: z.array(z.string().nullable()),
});
export type SettingDifference = z.infer<typeof settingDifferenceSchema>;

/** When and where one part of a comparison was measured; parts that were kept keep theirs. */
export const measurementSchema = originSchema.extend({
  part: z.enum(["quantisation", "accuracy", "serving and load"]),
  variant: z.string(),
});
export type Measurement = z.infer<typeof measurementSchema>;

export const recommendationSchema = z.object({
  /** The variant to use; null where the figures do not say. */
  variant: z.string().nullable(),
  text: z.string(),
});
export type Recommendation = z.infer<typeof recommendationSchema>;

export const comparisonSchema = z.object({
  kind: z.literal("comparison"),
  title: z.string(),
  /** Null where nothing was asked that a recommendation could answer: runs of other tools. */
  recommendation: recommendationSchema.nullable(),
  /** Version of Millrace that wrote this, and when; what was measured bears its own in `measurements`. */
  version: z.string(),
  writtenAt: z.string(),
  measurements: z.array(measurementSchema),
  /** The first is what the others are compared with. */
  variants: z.array(variantSchema),
  /** One for each variant but the first. */
  pairs: z.array(pairSchema),
  load: loadComparisonSchema,
  /** What an hour of the machine costs, in any currency; null where nobody said. */
  pricePerHour: z.number().nullable(),
  differences: z.array(settingDifferenceSchema),
  notes: z.array(z.string()),
});
export type ComparisonRecord = z.infer<typeof comparisonSchema>;
