import type { EvaluationRecord, EvaluationSample } from "../src/records/evaluation.ts";
import { startOrigin } from "../src/records/origin.ts";

/** One document with its scores; its prompt and answer are its own. */
export function sampleOf(docId: number, metrics: EvaluationSample["metrics"]): EvaluationSample {
  return {
    doc_id: docId,
    doc: {},
    target: "0",
    arguments: [],
    resps: [],
    filtered_resps: [],
    filter: "none",
    metrics,
    doc_hash: `d${docId}`,
    prompt_hash: `p${docId}`,
    target_hash: `t${docId}`,
  };
}

/** A whole evaluation of these samples. */
export function evaluationOf(samples: Record<string, EvaluationSample[]>): EvaluationRecord {
  const perTask = <T>(value: (rows: readonly EvaluationSample[]) => T): Record<string, T> =>
    Object.fromEntries(Object.entries(samples).map(([task, rows]) => [task, value(rows)]));
  return {
    kind: "evaluation",
    origin: startOrigin("native avx2, 2 threads")(),
    results: perTask(() => ({ "acc,none": 1 })),
    group_subtasks: {},
    configs: perTask(() => ({ output_type: "multiple_choice" })),
    versions: {},
    "n-shot": {},
    higher_is_better: {},
    "n-samples": perTask((rows) => ({
      original: 9,
      effective: new Set(rows.map((row) => row.doc_id)).size,
    })),
    config: { model: "millrace", model_args: {}, limit: null, bootstrap_iters: 1000 },
    date: 0,
    max_length: 8,
    task_hashes: {},
    model_source: "millrace",
    model_name: "m",
    model_name_sanitized: "m",
    system_instruction: null,
    system_instruction_sha: null,
    fewshot_as_multiturn: false,
    chat_template: null,
    chat_template_sha: null,
    total_evaluation_time_seconds: "1",
    samples,
  };
}
