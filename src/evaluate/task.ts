import type { FilterPipeline } from "./filters/filter.ts";
import type { MetricDefinition, Scores } from "./metrics/metric.ts";
import type { Likelihood } from "./requests/model-request.ts";
import type { Row } from "./row-reader.ts";

/** A question with its answer, as a shot shows them; white space between them is the task's. */
export interface Shot {
  readonly text: string;
  readonly answer: string;
  /** What the answer begins with, where that is not the task's `genPrefix`. */
  readonly genPrefix?: string;
}

/** A row of a task, read. */
export interface Question extends Shot {
  /** The row as it stands in the file; kept in the sample record. */
  readonly doc: Row;
  /** What the sample record calls right, where that is not the answer's text or index. */
  readonly target?: string | number;
  /** Before everything, where that is not the task's `description`. */
  readonly description?: string;
}

/** A question with its possible answers. */
export interface ChoiceQuestion extends Question {
  /** The choices are texts before one common continuation, which is `answer` (WinoGrande). */
  readonly hasChoiceContexts?: boolean;
  /** Without the delimiter before them. */
  readonly choices: readonly string[];
  /** Index of the right one, of several the first. */
  readonly gold: number;
  /** All right ones, where a task can have several. */
  readonly golds?: readonly number[];
}

/** A text of which every token is scored. */
export interface TextQuestion {
  readonly doc: Row;
  /** What the model sees. */
  readonly text: string;
  /** What words and bytes are counted on, as the task's definition says. */
  readonly countedText: string;
}

/** A data set on a hub, in lm-eval's words: `dataset_path` and `dataset_name`. Its splits are called as the task's. */
export interface HubDataSet {
  /** "ORG/NAME". */
  readonly repo: string;
  /** Null for the only configuration, or the data set's own default. */
  readonly config: string | null;
  /** Branch, tag or commit; default "main". */
  readonly revision?: string;
}

/** Where a task's rows lie and how they are read. */
export interface TaskFiles {
  /** "data": the folder of `--data`; "embedded": comes with Millrace; "anywhere": the paths are whole; "hub": only there. */
  readonly root: "data" | "embedded" | "anywhere" | "hub";
  /** Where the rows come from that are in no folder. */
  readonly hub?: HubDataSet;
  /** Paths below the root for each split, the first that exists is taken, or the first with `.gz` after it. */
  readonly splits: Readonly<Record<string, readonly string[]>>;
  readonly defaultSplit: string;
  /** The rows of a file; default: JSON lines. Throws `invalid_data_file`. */
  readonly parse?: (text: string, where: string) => Row[];
  /** Rows that belong to the task and split; default: all. */
  readonly select?: (row: Row, split: string) => boolean;
}

/** Shots before a question, and how many where the user names no number. */
export type Fewshot = {
  readonly count: number;
  /** The task's definition does not let the user choose the number. */
  readonly isFixed?: boolean;
} & (
  | { readonly from: "none" }
  /** The first of these, always. */
  | { readonly from: "list"; readonly shots: readonly Shot[] }
  /** Written in a file that comes with Millrace, at a path below its folder. */
  | {
      readonly from: "file";
      readonly path: string;
      readonly read: (text: string, where: string) => Shot[];
    }
  | {
      readonly from: "split";
      readonly split: string;
      /** `first`: the first rows. `sample`: drawn anew for each document by one generator that goes on. */
      readonly choice: "first" | "sample";
      /**
       * lm-eval draws one row more and drops the evaluated one where its settings name one split for both (also where
       * they name none); otherwise a row can be a shot of itself.
       */
      readonly dropsOwnRow?: boolean;
    }
);

/** The parts of a prompt around question and shots. */
export interface PromptParts {
  /** Before everything. Default: nothing. */
  readonly description?: string;
  /** Between question and answer; default one space. */
  readonly targetDelimiter?: string;
  /** After each shot; default two line feeds. */
  readonly fewshotDelimiter?: string;
  /** What the answer begins with, after the question. */
  readonly genPrefix?: string;
  /** What differs in shots. */
  readonly shots?: Pick<PromptParts, "targetDelimiter" | "fewshotDelimiter">;
}

interface TaskBase {
  readonly name: string;
  /** lm-eval's version of the task; it changes when prompts or metrics do. */
  readonly version: number | string;
  /** What tables call it; default: the name. */
  readonly alias?: string;
  readonly summary: string;
  /** sha256 of a user's definition; a change of it is another task. */
  readonly definitionHash?: string;
  readonly files: TaskFiles;
  readonly fewshot: Fewshot;
  readonly prompt?: PromptParts;
  readonly metrics: readonly MetricDefinition[];
  /** How a row reads as a shot, where that differs from the question. */
  readonly readShot?: (row: Row, where: string) => Shot;
}

/** Scored by the log-likelihood of each answer after the question. */
export interface ChoiceTask extends TaskBase {
  readonly kind: "multiple_choice";
  /** Throws `invalid_data_file` with the place given in `where`. */
  readonly readRow: (row: Row, where: string) => ChoiceQuestion;
  readonly score: (question: ChoiceQuestion, likelihoods: readonly Likelihood[]) => Scores;
  /** Asks each choice also without a context; `score` gets these likelihoods behind the others. */
  readonly asksWithoutContext?: boolean;
}

/** Scored by the log-likelihood of the answer after the question, which brings the white space before it. */
export interface LikelihoodTask extends TaskBase {
  readonly kind: "loglikelihood";
  readonly readRow: (row: Row, where: string) => Question;
  readonly score: (question: Question, likelihood: Likelihood) => Scores;
}

/** Scored by the log-likelihood of a whole text. */
export interface RollingTask extends TaskBase {
  readonly kind: "loglikelihood_rolling";
  readonly readRow: (row: Row, where: string) => TextQuestion;
  readonly score: (question: TextQuestion, logLikelihood: number) => Scores;
}

/** A task whose answers are written. */
export interface WritingTask extends TaskBase {
  readonly kind: "generate_until";
  readonly readRow: (row: Row, where: string) => Question;
  readonly generation: GenerationSettings;
  /** Answers to each question, from which the filters choose; default 1. */
  readonly repeats?: number;
  /** Each gives a row of results of its own. */
  readonly filters: readonly FilterPipeline[];
}

/** Scored by what the model writes. */
export interface GenerationTask extends WritingTask {
  readonly score: (question: Question, answer: string) => Scores;
}

/** Scored by what the model writes, with knowledge that lies in files beside the data. */
export interface SupportedTask extends WritingTask {
  /** `read`: the text of a file by its path below the data folder. */
  readonly loadScore: (read: (path: string) => string) => GenerationTask["score"];
}

/** Scored by whether the program that the model writes passes its tests; the only metric is 0 or 1. */
export interface ProgramTask extends WritingTask {
  /** The whole Python program to run. */
  readonly programOf: (question: Question, answer: string) => string;
}

export function isProgramTask(task: Task): task is ProgramTask {
  return "programOf" in task;
}

/** lm-eval's `generation_kwargs`, in its order and words. */
export interface GenerationSettings {
  /** Texts that end an answer. Default: the few-shot delimiter. */
  readonly until?: readonly string[];
  /** Most tokens of an answer; default 256. */
  readonly max_gen_toks?: number;
  readonly do_sample?: boolean;
  readonly temperature?: number;
  readonly top_p?: number;
}

export type Task = ChoiceTask | LikelihoodTask | RollingTask | GenerationTask | SupportedTask | ProgramTask;

/** Several tasks, or groups of them, reported together. */
export interface TaskGroup {
  readonly name: string;
  /** As lm-eval writes it in results. */
  readonly version?: string;
  /** What tables call it; default: the name. */
  readonly alias?: string;
  readonly summary: string;
  readonly members: readonly string[];
  /** Metrics of which a common value is formed; none: the group only names its members. */
  readonly metrics: readonly GroupMetric[];
}

export interface GroupMetric {
  /** `metric,filter` */
  readonly key: string;
  /** Each document counts alike; else each task. */
  readonly isWeightedBySize: boolean;
}
