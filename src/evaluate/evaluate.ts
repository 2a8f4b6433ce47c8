import { MillraceError } from "../base/errors.ts";
import { type Progress, silentProgress } from "../base/progress.ts";
import type { EvaluationRecord, EvaluationSample } from "../records/evaluation.ts";
import { startOrigin } from "../records/origin.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import type { CodeRunner } from "./code/code-runner.ts";
import type { HubRows } from "./hub-rows.ts";
import { type PreparedTask, prepareTask } from "./prepare-task.ts";
import { type PromptSettings, plainPrompts } from "./prompts/build-prompt.ts";
import type { LanguageModel, ModelResponse } from "./requests/model-request.ts";
import { workThrough } from "./requests/request-pool.ts";
import { aggregateSamples, describeRun, filterNames } from "./results.ts";
import { describeSettings } from "./run-settings.ts";
import { makeSamples } from "./sample.ts";
import { sum } from "./statistics.ts";
import { type GenerationSettings, isProgramTask, type Task } from "./task.ts";
import { TaskData } from "./task-data.ts";
import { builtInTasks, type TaskRegistry } from "./task-registry.ts";
import { type PerTask, settingFor } from "./task-settings.ts";

export interface EvaluationOptions {
  /** Tasks and groups. */
  readonly tasks: readonly string[];
  /** Where their names are looked up; default: the built-in ones. */
  readonly registry?: TaskRegistry;
  /** First documents only. */
  readonly limits?: PerTask<number>;
  readonly splits?: PerTask<string>;
  /** Shots where they are not the task's own number. */
  readonly numFewshot?: PerTask<number>;
  /** Folder of the data sets; not needed for the embedded tasks. */
  readonly dataDir?: string | null;
  /** What the tasks read from a hub. */
  readonly hubRows?: HubRows | null;
  readonly prompts?: PromptSettings;
  /** Take the place of the same settings of every task whose answers are written. */
  readonly genKwargs?: GenerationSettings | null;
  readonly model: LanguageModel;
  /** Runs programs that the model writes; without it, tasks that need them are refused. */
  readonly codeRunner?: CodeRunner | null;
  /** Requests in flight at most; default 64. */
  readonly concurrency?: number;
  /** Resamples behind the standard error of perplexities; default lm-eval's 100,000. */
  readonly bootstrapIterations?: number;
  /** For the record: the model's name, how it is reached and how it ran. */
  readonly modelName?: string;
  readonly modelSource?: string;
  readonly modelArgs?: Readonly<Record<string, unknown>>;
  /** Null where the model takes messages and its tokens are not known. */
  readonly tokenizer?: Tokenizer | null;
  /** Backend, instruction set and threads that compute, where they are known. */
  readonly kernels?: string | null;
  readonly progress?: Progress;
  readonly signal?: AbortSignal;
}

/** Runs that share one value of these are comparable. */
const defaults = { concurrency: 64, bootstrapIterations: 100_000 } as const;

/**
 * Runs tasks against anything that gives log-likelihoods or writes, with lm-eval's prompts, tokenisation, filters and
 * metrics. All data are read and all prompts encoded before the first request, so that bad input is told at once.
 * Throws `unknown_task`, `invalid_option`, `file_not_found`, `invalid_data_file`, `context_length_exceeded`,
 * `evaluation_unsupported`, what the model throws, and the signal's reason.
 */
export async function evaluateTasks(options: EvaluationOptions): Promise<EvaluationRecord> {
  const finishOrigin = startOrigin(options.kernels ?? null);
  const { tasks, groups } = (options.registry ?? builtInTasks).expand(options.tasks);
  const data = new TaskData(options.dataDir ?? null, options.hubRows);
  const prompts = options.prompts ?? plainPrompts;
  const of = <T>(setting: PerTask<T> | undefined, name: string): T | null =>
    setting === undefined ? null : settingFor(setting, name);
  const prepared = tasks.map((task) => {
    const { name } = task;
    if (isProgramTask(task) && !options.codeRunner) throw needsCodeRunner(name);
    const settings = {
      split: of(options.splits, name),
      limit: of(options.limits, name),
      numFewshot: of(options.numFewshot, name),
      prompts,
    };
    return prepareTask(withGeneration(task, options.genKwargs ?? null), settings, data, options.model);
  });
  const shortened = Object.fromEntries(
    prepared.flatMap(({ task, documents }) => {
      const requests = documents.flatMap((document) => document.requests);
      const numShort = requests.filter(({ numLost = 0 }) => numLost > 0).length;
      return numShort === 0 ? [] : [[task.name, numShort]];
    }),
  );
  const samples: Record<string, EvaluationSample[]> = {};
  const cutAnswers: Record<string, number> = {};
  for (const entry of prepared) {
    const { name, kind } = entry.task;
    const run = await runTask(entry, options);
    samples[name] = run.samples;
    if (kind === "generate_until") cutAnswers[name] = run.numCut;
  }
  const numResamples = options.bootstrapIterations ?? defaults.bootstrapIterations;
  const origin = finishOrigin();
  const tokens = options.model.promptTokens;
  return {
    kind: "evaluation",
    ...describeRun(prepared, groups, { samples, numResamples }),
    ...describeSettings(options, numResamples),
    origin,
    date: Date.parse(origin.startedAt) / 1000,
    total_evaluation_time_seconds: String(origin.durationMs / 1000),
    data_files: data.hashes(),
    cut_answers: cutAnswers,
    shortened_prompts: shortened,
    ...(tokens === undefined ? {} : { prompt_tokens: { sent: tokens.numSent, cached: tokens.numCached } }),
    samples,
  };
}

function withGeneration(task: Task, changed: GenerationSettings | null): Task {
  if (changed === null || task.kind !== "generate_until") return task;
  return { ...task, generation: { ...task.generation, ...changed } };
}

function needsCodeRunner(task: string): MillraceError {
  return new MillraceError(
    "evaluation_unsupported",
    `Task ${task} runs programs that the model writes, and that was not allowed. Say --allow-code-execution; they run in a sandbox without network, with limits on time, memory and files.`,
    { param: "--allow-code-execution" },
  );
}

interface TaskRun {
  readonly samples: EvaluationSample[];
  /** Written answers that ran into the limit of their length. */
  readonly numCut: number;
}

async function runTask(prepared: PreparedTask, options: EvaluationOptions): Promise<TaskRun> {
  const { task, documents } = prepared;
  const { signal, codeRunner = null, progress = silentProgress } = options;
  const { concurrency = defaults.concurrency } = options;
  const samples: EvaluationSample[] = [];
  let numDone = 0;
  let numCut = 0;
  const answer = async (index: number): Promise<void> => {
    const { requests } = documents[index]!;
    const responses: ModelResponse[] = [];
    const send = async (place: number): Promise<void> => {
      responses[place] = await requests[place]!.send(signal);
      numDone += 1;
      numCut += "isCut" in responses[place] && responses[place].isCut ? 1 : 0;
      progress.update(numDone, runningScore(prepared, samples));
    };
    // What the first leaves in the prefix cache, their common context, the others need not compute.
    await send(0);
    const others = requests.map((_, place) => place).slice(1);
    await workThrough(others, { concurrency, signal }, send);
    samples.push(...(await makeSamples(prepared, index, { responses, codeRunner })));
  };
  progress.start(`evaluate ${task.name}`, sum(documents.map(({ requests }) => requests.length)));
  const most = Math.max(...documents.map(({ requests }) => requests.length));
  const numAtOnce = Math.max(1, Math.floor(concurrency / Math.max(1, most - 1)));
  await workThrough(longestFirst(documents), { concurrency: numAtOnce, signal }, answer);
  progress.finish(`${task.name}: ${runningScore(prepared, samples)}`);
  // lm-eval's order, which the hash of a task depends on.
  const filters = filterNames(task);
  const inOrder = samples.toSorted(
    (a, b) => filters.indexOf(a.filter) - filters.indexOf(b.filter) || a.doc_id - b.doc_id,
  );
  return { samples: inOrder, numCut };
}

/** Indices of the documents, those with long requests first, so that no long one is left at the end. */
function longestFirst(documents: PreparedTask["documents"]): number[] {
  const sizes = documents.map(({ requests }) => Math.max(0, ...requests.map(({ size }) => size)));
  return [...sizes.keys()].sort((a, b) => sizes[b]! - sizes[a]!);
}

function runningScore({ task }: PreparedTask, samples: readonly EvaluationSample[]): string {
  if (samples.length === 0) return "";
  const [first] = aggregateSamples(task, samples);
  return first === undefined ? "" : `${first.metric.name} ${first.value.toFixed(4)}`;
}
