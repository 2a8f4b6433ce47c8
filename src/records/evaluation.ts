import { z } from "zod";
import { originSchema } from "./origin.ts";

const metricValue = z.union([z.number(), z.literal("N/A")]);

const response = z.union([z.string(), z.number(), z.tuple([z.number(), z.boolean()])]);

/** One document and filter: what was asked, what the model gave, what came of it. */
export const evaluationSampleSchema = z.object({
  doc_id: z.int().nonnegative(),
  doc: z.record(z.string(), z.unknown()),
  target: z.union([z.number(), z.string()]),
  /** [context, continuation] for each answer, [prompt, generation settings], or [text]. */
  arguments: z.array(z.array(z.unknown())),
  /** For each request its responses: [log-likelihood, is greedy], a log-likelihood, or a written answer. */
  resps: z.array(z.array(response)),
  filtered_resps: z.array(response),
  /** "none" where the task filters nothing. */
  filter: z.string(),
  /** Numbers; perplexities as [log-likelihood, weight]; verdicts on the parts of a document as booleans. */
  metrics: z.record(
    z.string(),
    z.union([z.number(), z.tuple([z.number(), z.number()]), z.array(z.boolean())]),
  ),
  doc_hash: z.string(),
  prompt_hash: z.string(),
  target_hash: z.string(),
});

/** The results file in lm-eval's shape, with a few keys of our own at the top. */
export const evaluationResultsSchema = z.object({
  kind: z.literal("evaluation"),
  formatVersion: z.literal(2),
  origin: originSchema,
  /** Task → {"alias", "sample_len", "acc,none", "acc_stderr,none", …}. */
  results: z.record(z.string(), z.record(z.string(), z.union([metricValue, z.string()]))),
  /** The entries of `results` that are groups. */
  groups: z.record(z.string(), z.record(z.string(), z.union([metricValue, z.string()]))),
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
    bootstrap_iters: z.int(),
    apply_chat_template: z.boolean(),
    fewshot_as_multiturn: z.boolean(),
    system_instruction: z.string().nullable(),
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
