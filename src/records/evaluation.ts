import { z } from "zod";

const metricValue = z.union([z.number(), z.literal("N/A")]);

/** One document: what was asked, what the model gave, what came of it. */
export const evaluationSampleSchema = z.object({
  doc_id: z.int().nonnegative(),
  doc: z.record(z.string(), z.unknown()),
  target: z.union([z.number(), z.string()]),
  /** [context, continuation] for each answer, or one [text]. */
  arguments: z.array(z.array(z.string())),
  /** [log-likelihood, is greedy] for each answer, or one [log-likelihood]. */
  resps: z.array(z.array(z.union([z.number(), z.boolean()]))),
  filter: z.literal("none"),
  /** acc and acc_norm as 0 or 1; perplexities as [log-likelihood, weight]. */
  metrics: z.record(z.string(), z.union([z.number(), z.tuple([z.number(), z.number()])])),
  doc_hash: z.string(),
  prompt_hash: z.string(),
  target_hash: z.string(),
});

/** The results file in lm-eval's shape, with a few keys of our own at the top. */
export const evaluationResultsSchema = z.object({
  kind: z.literal("evaluation"),
  formatVersion: z.literal(1),
  millraceVersion: z.string(),
  /** Task → {"alias", "sample_len", "acc,none", "acc_stderr,none", …}. */
  results: z.record(z.string(), z.record(z.string(), z.union([metricValue, z.string()]))),
  group_subtasks: z.record(z.string(), z.array(z.string())),
  configs: z.record(z.string(), z.record(z.string(), z.unknown())),
  versions: z.record(z.string(), z.number()),
  "n-shot": z.record(z.string(), z.number()),
  higher_is_better: z.record(z.string(), z.record(z.string(), z.boolean())),
  "n-samples": z.record(z.string(), z.object({ original: z.int(), effective: z.int() })),
  config: z.object({
    model: z.string(),
    model_args: z.record(z.string(), z.unknown()),
    limit: z.union([z.number(), z.string(), z.null()]),
  }),
  /** Seconds since 1970. */
  date: z.number(),
  max_length: z.int(),
  total_evaluation_time_seconds: z.string(),
});

/** A whole run. On disk the samples lie in JSON lines beside the results. */
export const evaluationRecordSchema = evaluationResultsSchema.extend({
  samples: z.record(z.string(), z.array(evaluationSampleSchema)),
});

export type EvaluationSample = z.infer<typeof evaluationSampleSchema>;
export type EvaluationResults = z.infer<typeof evaluationResultsSchema>;
export type EvaluationRecord = z.infer<typeof evaluationRecordSchema>;
