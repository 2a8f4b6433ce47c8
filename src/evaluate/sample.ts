import { invariant } from "../base/invariant.ts";
import type { EvaluationSample, SampleResponse, SampleScore } from "../records/evaluation.ts";
import type { CodeRunner } from "./code/code-runner.ts";
import { applyFilters, noFilter } from "./filters/filter.ts";
import type { Score, Scores } from "./metrics/metric.ts";
import type { PreparedDocument, PreparedTask } from "./prepare-task.ts";
import type { Answer, Likelihood, ModelResponse } from "./requests/model-request.ts";
import { sha256 } from "./sha256.ts";
import {
  type ChoiceQuestion,
  isProgramTask,
  type ProgramTask,
  type Question,
  type Task,
  type TextQuestion,
} from "./task.ts";

/** The records of one document: one, or one for each filter of a task that has them. */
export async function makeSamples(
  { task, documents, scoreAnswer }: PreparedTask,
  index: number,
  { responses, codeRunner }: Responses,
): Promise<EvaluationSample[]> {
  const document = documents[index]!;
  if (task.kind !== "generate_until") {
    const { filtered, scores } = scoreLikelihoods(task, document, responses as Likelihood[]);
    const given = filtered.map((response) => [response]);
    return [sampleOf({ task, index, document, filter: noFilter.name, responses: given, filtered, scores })];
  }
  const question = document.question as Question;
  const answers = (responses as Answer[]).map(({ text }) => text);
  const samples: EvaluationSample[] = [];
  for (const pipeline of task.filters) {
    const answer = applyFilters(pipeline, answers, question);
    const scores = isProgramTask(task)
      ? await scoreProgram(task, question, answer, codeRunner)
      : scoreAnswer!(question, answer);
    const filtered = [pipeline.keepsList === true ? [answer] : answer];
    samples.push(
      sampleOf({ task, index, document, filter: pipeline.name, responses: [answers], filtered, scores }),
    );
  }
  return samples;
}

/** What the model gave for one document, and where programs among it run. */
export interface Responses {
  readonly responses: readonly ModelResponse[];
  readonly codeRunner: CodeRunner | null;
}

async function scoreProgram(
  task: ProgramTask,
  question: Question,
  answer: string,
  codeRunner: CodeRunner | null,
): Promise<Scores> {
  invariant(codeRunner !== null, "programs are only asked for where they can run");
  const { hasPassed } = await codeRunner.run(task.programOf(question, answer));
  return { [task.metrics[0]!.name]: hasPassed ? 1 : 0 };
}

function scoreLikelihoods(
  task: Exclude<Task, { kind: "generate_until" }>,
  { question }: PreparedDocument,
  likelihoods: readonly Likelihood[],
): { readonly filtered: readonly SampleResponse[]; readonly scores: Scores } {
  const pairs = likelihoods.map(({ logLikelihood, isGreedy }) => [logLikelihood, isGreedy] as const);
  if (task.kind === "multiple_choice") {
    return { filtered: pairs, scores: task.score(question as ChoiceQuestion, likelihoods) };
  }
  const only = likelihoods[0]!;
  return task.kind === "loglikelihood"
    ? { filtered: pairs, scores: task.score(question as Question, only) }
    : { filtered: [only.logLikelihood], scores: task.score(question as TextQuestion, only.logLikelihood) };
}

interface SampleParts {
  readonly task: Task;
  readonly index: number;
  readonly document: PreparedDocument;
  readonly filter: string;
  readonly responses: EvaluationSample["resps"];
  readonly filtered: readonly SampleResponse[];
  readonly scores: Scores;
}

function sampleOf(parts: SampleParts): EvaluationSample {
  const { question } = parts.document;
  const target = targetOf(parts.task, question);
  return {
    doc_id: parts.index,
    doc: question.doc,
    target,
    arguments: parts.document.arguments,
    resps: parts.responses,
    filtered_resps: parts.filtered,
    filter: parts.filter,
    metrics: Object.fromEntries(
      Object.entries(parts.scores).map(([name, score]) => [name, mutableScore(score)]),
    ),
    doc_hash: sha256(JSON.stringify(question.doc, null, 2)),
    prompt_hash: sha256(textOf(parts.document.arguments[0]?.[0])),
    target_hash: sha256(String(target)),
  };
}

function targetOf(task: Task, question: PreparedDocument["question"]): string | number {
  if ("target" in question && question.target !== undefined) return question.target;
  if (task.kind === "multiple_choice") {
    const { answer, gold, hasChoiceContexts } = question as ChoiceQuestion;
    return hasChoiceContexts === true ? answer : gold;
  }
  return task.kind === "loglikelihood_rolling" ? question.text : (question as Question).answer;
}

function mutableScore(score: Score): SampleScore {
  return typeof score === "number" ? score : ([...score] as Exclude<SampleScore, number>);
}

/** A text as it is, chat messages as JSON. */
function textOf(prompt: unknown): string {
  return typeof prompt === "string" ? prompt : (JSON.stringify(prompt) ?? "");
}
