import { MillraceError } from "../base/errors.ts";
import {
  answerDelimiter,
  buildPrompt,
  defaultDelimiters,
  type PromptSettings,
} from "./prompts/build-prompt.ts";
import { createShotSource, numShots } from "./prompts/shots.ts";
import type {
  GenerationLimits,
  LanguageModel,
  ModelRequest,
  PreparedRequest,
  Prompt,
} from "./requests/model-request.ts";
import type {
  ChoiceQuestion,
  GenerationTask,
  PromptParts,
  Question,
  Shot,
  Task,
  TextQuestion,
  WritingTask,
} from "./task.ts";
import type { TaskData } from "./task-data.ts";

/** lm-eval's longest answer where a task names none. */
const defaultAnswerTokens = 256;
/** lm-eval's seed of every request. */
const generationSeed = 1234;

/** One document with what is asked of the model for it. */
export interface PreparedDocument {
  readonly question: Question | TextQuestion;
  /** [context, continuation] for each choice, [prompt, generation settings], or [text]: what a sample record keeps. */
  readonly arguments: readonly (readonly unknown[])[];
  /** As many for each of the `arguments` as the task repeats it. */
  readonly requests: readonly PreparedRequest[];
}

/** A task with its documents read, limited and turned into requests. */
export interface PreparedTask {
  readonly task: Task;
  readonly split: string;
  readonly numShots: number;
  /** Before any limit. */
  readonly numDocuments: number;
  readonly documents: readonly PreparedDocument[];
  /** Scores a written answer; null for tasks that are scored otherwise. */
  readonly scoreAnswer: GenerationTask["score"] | null;
}

export interface TaskSettings {
  readonly split: string | null;
  readonly limit: number | null;
  /** Null for the task's own number. */
  readonly numFewshot: number | null;
  readonly prompts: PromptSettings;
}

/** Reads a task and encodes all that it asks. Throws what a task's files, settings and requests can throw. */
export function prepareTask(
  task: Task,
  settings: TaskSettings,
  data: TaskData,
  model: LanguageModel,
): PreparedTask {
  const all = data.questions(task, settings.split);
  const shotsOf = createShotSource(task, settings.numFewshot, {
    questions: (split) => data.shotsOfSplit(task, split),
    listed: () => data.shots(task),
  });
  const documents = all.slice(0, settings.limit ?? undefined).map((question): PreparedDocument => {
    const asked = askQuestion(task, question, shotsOf(question), { prompts: settings.prompts, model });
    return {
      question,
      arguments: asked.map(argumentsOf),
      requests: asked.flatMap(({ request }) =>
        repeatRequest(request, task).map((each) => model.prepare(each)),
      ),
    };
  });
  return {
    task,
    split: settings.split ?? task.files.defaultSplit,
    numShots: numShots(task, settings.numFewshot),
    numDocuments: all.length,
    documents,
    scoreAnswer: loadScore(task, data),
  };
}

function loadScore(task: Task, data: TaskData): GenerationTask["score"] | null {
  if ("loadScore" in task) return task.loadScore((path) => data.support(task, path));
  return task.kind === "generate_until" && "score" in task ? task.score : null;
}

/** A request, with the generation settings as the task's definition has them. */
interface Asked {
  readonly request: ModelRequest;
  readonly settings?: unknown;
}

function repeatRequest(request: ModelRequest, task: Task): ModelRequest[] {
  if (request.kind !== "generation" || task.kind !== "generate_until") return [request];
  return Array.from({ length: task.repeats ?? 1 }, (_, repeat) => ({
    ...request,
    limits: { ...request.limits, seed: request.limits.seed + repeat },
  }));
}

interface Asking {
  readonly prompts: PromptSettings;
  readonly model: LanguageModel;
}

function argumentsOf({ request, settings }: Asked): readonly unknown[] {
  if (request.kind === "loglikelihood") return [request.context, request.continuation];
  return request.kind === "rolling" ? [request.text] : [request.prompt, settings];
}

function askQuestion(
  task: Task,
  question: ReturnType<Task["readRow"]>,
  shots: readonly Shot[],
  asking: Asking,
): Asked[] {
  const parts = task.prompt ?? {};
  if (task.kind === "loglikelihood_rolling") return [{ request: { kind: "rolling", text: question.text } }];
  if (task.kind === "generate_until") return [askForText(task, question as Question, shots, asking)];
  const delimiter = answerDelimiter(parts, asking.prompts);
  const contextOf = (asked: Question, inner: PromptParts = parts): string =>
    renderPrompt(buildPrompt(inner, shots, asked, asking.prompts), asking.model);
  const { answer } = question as Question;
  if (task.kind === "loglikelihood") {
    // No delimiter: the task's answer is the whole continuation.
    const context = contextOf(question as Question);
    return [{ request: { kind: "loglikelihood", context, continuation: answer } }];
  }
  const ask = (context: string, text: string): Asked => ({
    request: { kind: "loglikelihood", context, continuation: delimiter + text },
  });
  const { choices, hasChoiceContexts = false } = question as ChoiceQuestion;
  if (hasChoiceContexts) {
    // Nothing stands between such a text and a beginning of the answer.
    const { targetDelimiter = defaultDelimiters.target } = parts;
    const inner = { ...parts, targetDelimiter: "", shots: { targetDelimiter, ...parts.shots } };
    return choices.map((text) => ask(contextOf({ ...(question as Question), text }, inner), answer));
  }
  const context = contextOf(question as Question);
  const asked = choices.map((choice) => ask(context, choice));
  return task.asksWithoutContext === true ? [...asked, ...choices.map((choice) => ask("", choice))] : asked;
}

function askForText(
  task: WritingTask,
  question: Question,
  shots: readonly Shot[],
  { prompts, model }: Asking,
): Asked {
  const parts = task.prompt ?? {};
  const built = buildPrompt(parts, shots, question, prompts);
  // Endpoints that take messages only have no template of ours.
  const prompt = typeof built === "string" || model.renderChat === null ? built : renderPrompt(built, model);
  return {
    request: { kind: "generation", prompt, limits: generationLimits(task, parts) },
    settings: task.generation,
  };
}

function generationLimits({ generation }: WritingTask, parts: PromptParts): GenerationLimits {
  const isGreedy = generation.do_sample === false || generation.temperature === undefined;
  return {
    until: generation.until ?? [parts.fewshotDelimiter ?? defaultDelimiters.fewshot],
    maxNewTokens: generation.max_gen_toks ?? defaultAnswerTokens,
    temperature: isGreedy ? 0 : generation.temperature,
    topP: generation.top_p ?? 1,
    seed: generationSeed,
  };
}

function renderPrompt(prompt: Prompt, { renderChat }: LanguageModel): string {
  if (typeof prompt === "string") return prompt;
  if (renderChat !== null) return renderChat(prompt, prompt.at(-1)?.role === "assistant");
  throw new MillraceError(
    "evaluation_unsupported",
    "Log-likelihoods of chat prompts need the model's chat template, and there is none. Give one with --chat-template, or leave out --apply-chat-template.",
    { param: "--apply-chat-template" },
  );
}
