import { type Progress, silentProgress } from "../base/progress.ts";
import { version } from "../base/version.ts";
import type { ScoreRequest, Scorer } from "../protocol/engine-client.ts";
import type { EvaluationRecord, EvaluationSample } from "../records/evaluation.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { metricsOf } from "./metrics.ts";
import { scoreAll } from "./request-pool.ts";
import { encodePair, encodeRolling, type RequestEncoder } from "./request-tokens.ts";
import { choiceSample, textSample } from "./sample.ts";
import type { Likelihood } from "./scoring.ts";
import type { ChoiceDocument, Task, TextDocument } from "./task.ts";
import { loadChoices, loadTexts } from "./task-data.ts";
import { findTask, type PerTask, settingFor } from "./task-registry.ts";

export interface EvaluationOptions {
  readonly tasks: readonly string[];
  /** First documents only. */
  readonly limits?: PerTask<number>;
  readonly splits?: PerTask<string>;
  /** Folder that holds arc/, hellaswag/ and wikitext-2-raw/; not needed for the embedded tasks. */
  readonly dataDir?: string | null;
  readonly scorer: Scorer;
  readonly tokenizer: Tokenizer;
  /**
   * Most tokens that the model reads at once. Score requests have up to one more id: the last is predicted, not read.
   */
  readonly maxLength: number;
  /** Requests in flight; default 64. */
  readonly concurrency?: number;
  /** For the record: the model's name and how it ran. */
  readonly model?: string;
  readonly modelArgs?: Readonly<Record<string, unknown>>;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

type Documents =
  | { readonly kind: "multiple-choice"; readonly documents: readonly ChoiceDocument[] }
  | { readonly kind: "rolling"; readonly documents: readonly TextDocument[] };

/** A task with its documents read, limited and turned into requests. */
interface PreparedTask {
  readonly task: Task;
  readonly split: string;
  readonly numDocuments: number;
  readonly loaded: Documents;
  /** Requests of all documents, one document after the other. */
  readonly requests: readonly ScoreRequest[];
  /** Where each document's requests begin, and the end of the last. */
  readonly starts: readonly number[];
}

/**
 * Runs tasks against anything that gives log-likelihoods, with lm-eval's prompts, tokenisation and metrics. All data
 * are read and all prompts encoded before the first request, so that bad input is told at once.
 * Throws `unknown_task`, `invalid_option`, `file_not_found`, `invalid_data_file`, `context_length_exceeded`, what the
 * scorer throws, and the signal's reason.
 */
export async function evaluateTasks(options: EvaluationOptions): Promise<EvaluationRecord> {
  const started = performance.now();
  const date = Date.now() / 1000;
  const prepared = [...new Set(options.tasks)].map((name) => prepare(findTask(name), options));
  const samples: Record<string, EvaluationSample[]> = {};
  for (const entry of prepared) samples[entry.task.name] = await runTask(entry, options);
  return {
    kind: "evaluation",
    formatVersion: 1,
    millraceVersion: version,
    ...describeTasks(prepared, samples),
    config: {
      model: options.model ?? "",
      model_args: { ...options.modelArgs },
      limit: describeLimits(options.limits),
    },
    date,
    max_length: options.maxLength,
    total_evaluation_time_seconds: ((performance.now() - started) / 1000).toFixed(3),
    samples,
  };
}

function prepare(task: Task, options: EvaluationOptions): PreparedTask {
  const split = (options.splits && settingFor(options.splits, task.name)) ?? null;
  const limit = (options.limits && settingFor(options.limits, task.name)) ?? Infinity;
  const choice = { dataDir: options.dataDir ?? null, split };
  const encoder: RequestEncoder = { tokenizer: options.tokenizer, maxLength: options.maxLength };
  const all = task.kind === "rolling" ? loadTexts(task, choice) : loadChoices(task, choice);
  const documents = all.slice(0, limit);
  const starts = [0];
  const requests: ScoreRequest[] = [];
  for (const document of documents) {
    requests.push(...encodeDocument(encoder, document));
    starts.push(requests.length);
  }
  const loaded = { kind: task.kind, documents } as Documents;
  return {
    task,
    split: split ?? task.files.defaultSplit,
    numDocuments: all.length,
    loaded,
    requests,
    starts,
  };
}

function encodeDocument(encoder: RequestEncoder, document: ChoiceDocument | TextDocument): ScoreRequest[] {
  if ("text" in document) return encodeRolling(encoder, document.text);
  return document.choices.map((choice) => encodePair(encoder, document.context, ` ${choice}`));
}

async function runTask(prepared: PreparedTask, options: EvaluationOptions): Promise<EvaluationSample[]> {
  const { task, requests, starts, loaded } = prepared;
  const progress = options.progress ?? silentProgress;
  const documentOf = requestOwners(starts);
  const waiting = starts.slice(1).map((end, i) => end - starts[i]!);
  const likelihoods: Likelihood[][] = waiting.map(() => []);
  const samples: EvaluationSample[] = [];
  let done = 0;
  progress.start(`evaluate ${task.name}`, requests.length);
  await scoreAll(requests, longestFirst(requests, starts), {
    scorer: options.scorer,
    concurrency: options.concurrency ?? 64,
    signal: options.signal,
    onDone: (index, likelihood) => {
      const owner = documentOf[index]!;
      likelihoods[owner]![index - starts[owner]!] = likelihood;
      waiting[owner]! -= 1;
      if (waiting[owner] === 0) samples.push(makeSample(loaded, owner, likelihoods[owner]!));
      done += 1;
      progress.update(done, runningScore(task, samples));
    },
  });
  for (const [owner, count] of starts.slice(1).entries()) {
    if (count === starts[owner]) samples.push(makeSample(loaded, owner, []));
  }
  progress.finish(`${task.name}: ${runningScore(task, samples)}`);
  return samples.toSorted((a, b) => a.doc_id - b.doc_id);
}

function makeSample(loaded: Documents, index: number, likelihoods: readonly Likelihood[]): EvaluationSample {
  return loaded.kind === "rolling"
    ? textSample(index, loaded.documents[index]!, likelihoods)
    : choiceSample(index, loaded.documents[index]!, likelihoods);
}

/**
 * Documents with long requests first, so that no long one is left at the end; the requests of a document stay
 * together, so that their common context is found in the prefix cache.
 */
function longestFirst(requests: readonly ScoreRequest[], starts: readonly number[]): number[] {
  const spans = starts.slice(1).map((end, i) => {
    const indices = Array.from({ length: end - starts[i]! }, (_, offset) => starts[i]! + offset);
    return { indices, length: Math.max(0, ...indices.map((index) => requests[index]!.tokenIds.length)) };
  });
  return spans.toSorted((a, b) => b.length - a.length).flatMap((span) => span.indices);
}

function requestOwners(starts: readonly number[]): number[] {
  return starts.slice(1).flatMap((end, owner) => Array.from({ length: end - starts[owner]! }, () => owner));
}

function runningScore(task: Task, samples: readonly EvaluationSample[]): string {
  if (samples.length === 0) return "";
  const metric = metricsOf(task.kind)[0]!;
  return `${metric.name} ${metric.aggregate(samples.map((sample) => sample.metrics[metric.name]!)).toFixed(4)}`;
}

type TaskDescriptions = Pick<
  EvaluationRecord,
  "results" | "group_subtasks" | "configs" | "versions" | "n-shot" | "higher_is_better" | "n-samples"
>;

function describeTasks(
  prepared: readonly PreparedTask[],
  samples: Record<string, EvaluationSample[]>,
): TaskDescriptions {
  const described: TaskDescriptions = {
    results: {},
    group_subtasks: {},
    configs: {},
    versions: {},
    "n-shot": {},
    higher_is_better: {},
    "n-samples": {},
  };
  for (const { task, split, numDocuments } of prepared) {
    const { name } = task;
    const metrics = metricsOf(task.kind);
    described.results[name] = aggregate(task, samples[name]!);
    described.group_subtasks[name] = [];
    described.configs[name] = {
      task: name,
      split,
      output_type: task.kind === "rolling" ? "loglikelihood_rolling" : "multiple_choice",
      num_fewshot: 0,
      metric_list: metrics.map((metric) => ({
        metric: metric.name,
        higher_is_better: metric.higherIsBetter,
      })),
    };
    described.versions[name] = task.version;
    described["n-shot"][name] = 0;
    described.higher_is_better[name] = Object.fromEntries(
      metrics.map((metric) => [metric.name, metric.higherIsBetter]),
    );
    described["n-samples"][name] = { original: numDocuments, effective: samples[name]!.length };
  }
  return described;
}

/** One entry of `results`: each metric with its standard error, "N/A" where there is none. */
export function aggregate(task: Task, samples: readonly EvaluationSample[]): Record<string, number | string> {
  const row: Record<string, number | string> = { alias: task.name, sample_len: samples.length };
  for (const metric of metricsOf(task.kind)) {
    const values = samples.map((sample) => sample.metrics[metric.name]!);
    row[`${metric.name},none`] = metric.aggregate(values);
    row[`${metric.name}_stderr,none`] = metric.standardError(values) ?? "N/A";
  }
  return row;
}

function describeLimits(limits: PerTask<number> | undefined): number | string | null {
  if (limits === undefined || limits.byTask.size === 0) return limits?.forAll ?? null;
  const pairs = [...limits.byTask].map(([task, limit]) => `${task}=${limit}`);
  return [...(limits.forAll === null ? [] : [String(limits.forAll)]), ...pairs].join(",");
}
