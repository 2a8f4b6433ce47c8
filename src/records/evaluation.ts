import { z } from "zod";
import { originSchema } from "./origin.ts";

const metricValue = z.union([z.number(), z.literal("N/A")]);

/** Task or group → {"alias", "sample_len", "acc,none", "acc_stderr,none", …}. */
const resultRows = z.record(
  z.string(),
  z.record(z.string(), z.union([metricValue, z.string(), z.record(z.string(), z.number())])),
);

/** What a task's entry in `configs` says of one metric. */
const metricConfig = z.looseObject({
  metric: z.string(),
  /** Name of the aggregation, or its Python source. */
  aggregation: z.string().optional(),
  higher_is_better: z.boolean().optional(),
});

const taskConfig = z.looseObject({
  task: z.string().optional(),
  output_type: z.string(),
  metric_list: z.array(metricConfig).optional(),
});

/**
 * The results file of lm-eval (`results_TIME.json`, its EvaluationTracker), which it names in snake case. Its own tools
 * read what we write, and what it writes is read here; `kind`, `origin` and `fingerprint` are ours.
 */
export const evaluationResultsSchema = z.looseObject({
  kind: z.literal("evaluation").optional(),
  /** Absent in files that lm-eval wrote. */
  origin: originSchema.optional(),
  results: resultRows,
  /** The entries of `results` that are groups with figures of their own. */
  groups: resultRows.optional(),
  group_subtasks: z.record(z.string(), z.array(z.string())),
  configs: z.record(z.string(), taskConfig),
  versions: z.record(z.string(), z.union([z.number(), z.string(), z.null()])),
  "n-shot": z.record(z.string(), z.number()),
  higher_is_better: z.record(z.string(), z.record(z.string(), z.boolean().nullable())),
  "n-samples": z.record(z.string(), z.object({ original: z.int(), effective: z.int() })),
  config: z.looseObject({
    /** How the model is reached. */
    model: z.string(),
    model_args: z.union([z.string(), z.record(z.string(), z.unknown()), z.null()]),
    limit: z.union([z.number(), z.string(), z.null()]),
    bootstrap_iters: z.int().nullable(),
    gen_kwargs: z.unknown().optional(),
  }),
  /** Seconds since 1970. */
  date: z.number(),
  max_length: z.int().nullable().optional(),
  /** Task → sha256 over the hashes of its samples. */
  task_hashes: z.record(z.string(), z.string()),
  model_source: z.string(),
  model_name: z.string(),
  /** `model_name` as the name of a folder. */
  model_name_sanitized: z.string(),
  system_instruction: z.string().nullable(),
  system_instruction_sha: z.string().nullable(),
  fewshot_as_multiturn: z.boolean().nullable(),
  chat_template: z.string().nullable(),
  chat_template_sha: z.string().nullable(),
  total_evaluation_time_seconds: z.string(),
  /** sha256 of each file of rows or shots, by its root and its path below it. Ours. */
  data_files: z.record(z.string(), z.string()).optional(),
  /** Task → written answers that ran into the limit of their length. Ours. */
  cut_answers: z.record(z.string(), z.int()).optional(),
  /** Task → requests whose context was longer than the model's and lost its beginning. Ours. */
  shortened_prompts: z.record(z.string(), z.int()).optional(),
  /** Tokens of all prompts that were sent, and those that the model had from before; null where it did not say. Ours. */
  prompt_tokens: z.object({ sent: z.int(), cached: z.int().nullable() }).optional(),
});
export type EvaluationResults = z.infer<typeof evaluationResultsSchema>;

/** [log-likelihood, is greedy], a log-likelihood, a written answer, or a list of such. */
export type SampleResponse =
  | readonly [logLikelihood: number, isGreedy: boolean]
  | number
  | string
  | readonly string[];

/** A number, [log-likelihood, weight], [right class, chosen class], [right class, probabilities], or verdicts. */
export const sampleScoreSchema = z.union([
  z.number(),
  z.tuple([z.number(), z.number()]),
  z.tuple([z.number(), z.array(z.number())]),
  z.array(z.boolean()),
]);
export type SampleScore = z.infer<typeof sampleScoreSchema>;

/** One document and filter: what was asked, what the model gave, what came of it. */
export interface EvaluationSample {
  readonly doc_id: number;
  /** The row as it stands in the data file. */
  readonly doc: Readonly<Record<string, unknown>>;
  readonly target: number | string;
  /** [context, continuation] for each answer, [prompt, generation settings], or [text]. */
  readonly arguments: readonly (readonly unknown[])[];
  /** For each request its responses: several where the task repeats it. */
  readonly resps: readonly (readonly SampleResponse[])[];
  readonly filtered_resps: readonly SampleResponse[];
  /** "none" where the task filters nothing. */
  readonly filter: string;
  readonly metrics: Readonly<Record<string, SampleScore>>;
  readonly doc_hash: string;
  readonly prompt_hash: string;
  readonly target_hash: string;
}

/** A whole run. On disk the samples lie in JSON lines beside the results. */
export interface EvaluationRecord extends EvaluationResults {
  readonly samples: Readonly<Record<string, readonly EvaluationSample[]>>;
}
