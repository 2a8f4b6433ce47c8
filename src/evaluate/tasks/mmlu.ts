import type { FilterPipeline } from "../filters/filter.ts";
import { acc, accNorm, scoreAcc, scoreAccAndNorm } from "../metrics/choice-scores.ts";
import { createExactMatch, exactMatch } from "../metrics/exact-match.ts";
import { strip } from "../python-text.ts";
import { badRow, isTexts, type Row, readIndex, readTexts } from "../row-reader.ts";
import type {
  ChoiceQuestion,
  ChoiceTask,
  Fewshot,
  GenerationTask,
  Task,
  TaskFiles,
  TaskGroup,
} from "../task.ts";
import { mmluSubjects } from "./mmlu-subjects.ts";

const letters = ["A", "B", "C", "D"] as const;

const fewshot: Fewshot = { from: "split", split: "dev", choice: "first", count: 0 };

const firstLine: FilterPipeline = {
  name: "get_response",
  steps: [(answer) => answer.split("\n", 1)[0]!, strip],
};
const isSameLetter = createExactMatch({ ignoresCase: true, ignoresPunctuation: true });

/** MMLU (Hendrycks et al. 2021) as lm-eval's `mmlu_*`, `mmlu_*_continuation` and `mmlu_*_generative`. */
export const mmluTasks: readonly Task[] = Object.values(mmluSubjects)
  .flat()
  .flatMap((subject) => [letterTask(subject), continuationTask(subject), generativeTask(subject)]);

export const mmluGroups: readonly TaskGroup[] = [
  ...groupsOf({ name: "mmlu", suffix: "", version: "2", key: "acc,none" }, "letter"),
  ...groupsOf({ name: "mmlu_continuation", suffix: "_continuation", version: "2", key: "acc,none" }, "text"),
  ...groupsOf(
    { name: "mmlu_generative", suffix: "_generative", version: "3", key: "exact_match,get_response" },
    "written letter",
  ),
];

interface GroupForm {
  readonly name: string;
  readonly suffix: string;
  readonly version: string;
  /** `metric,filter` */
  readonly key: string;
}

function groupsOf({ name, suffix, version, key }: GroupForm, answer: string): TaskGroup[] {
  const metrics = [{ key, isWeightedBySize: true }];
  const parts = Object.entries(mmluSubjects).map(
    ([part, subjects]): TaskGroup => ({
      name: `mmlu_${part}${suffix}`,
      version,
      summary: `MMLU, ${part.replace("_", " ")}, answered by ${answer}`,
      members: subjects.map((subject) => `mmlu_${subject}${suffix}`),
      metrics,
    }),
  );
  const summary = `MMLU, all 57 subjects, answered by ${answer}`;
  return [{ name, version, summary, members: parts.map((part) => part.name), metrics }, ...parts];
}

function filesOf(subject: string): TaskFiles {
  return {
    root: "data",
    hub: { repo: "cais/mmlu", config: subject },
    splits: {
      test: ["mmlu/test.jsonl"],
      validation: ["mmlu/validation.jsonl"],
      dev: ["mmlu/dev.jsonl"],
    },
    defaultSplit: "test",
    select: (row) => row["subject"] === subject,
  };
}

function partsOf(subject: string): Pick<Task, "files" | "fewshot" | "prompt"> {
  const title = subject.replaceAll("_", " ");
  return {
    files: filesOf(subject),
    fewshot,
    prompt: { description: `The following are multiple choice questions (with answers) about ${title}.\n\n` },
  };
}

function letterTask(subject: string): ChoiceTask {
  return {
    kind: "multiple_choice",
    name: `mmlu_${subject}`,
    version: 1,
    summary: `MMLU, ${subject.replaceAll("_", " ")}: the letter of the answer`,
    ...partsOf(subject),
    metrics: [acc],
    readRow: readLetterRow,
    score: scoreAcc,
  };
}

function continuationTask(subject: string): ChoiceTask {
  return {
    kind: "multiple_choice",
    name: `mmlu_${subject}_continuation`,
    version: 1,
    summary: `MMLU, ${subject.replaceAll("_", " ")}: the text of the answer`,
    ...partsOf(subject),
    metrics: [acc, accNorm],
    readRow: (doc, where) => {
      const { question, choices, gold } = readMmluRow(doc, where);
      return { doc, text: `Question: ${question}\nAnswer:`, answer: choices[gold]!, choices, gold };
    },
    score: scoreAccAndNorm,
  };
}

function generativeTask(subject: string): GenerationTask {
  return {
    kind: "generate_until",
    name: `mmlu_${subject}_generative`,
    version: 3,
    summary: `MMLU, ${subject.replaceAll("_", " ")}: the letter, written`,
    ...partsOf(subject),
    generation: { until: ["</s>", "\n"] },
    filters: [firstLine],
    metrics: [exactMatch],
    readRow: readLetterRow,
    score: ({ answer }, written) => ({ exact_match: isSameLetter(written, answer) }),
  };
}

function readLetterRow(doc: Row, where: string): ChoiceQuestion {
  const { question, choices, gold } = readMmluRow(doc, where);
  const lines = choices.map((choice, i) => `${letters[i]}. ${choice}\n`);
  const text = `${strip(question)}\n${lines.join("")}Answer:`;
  return { doc, text, answer: letters[gold]!, choices: letters, gold };
}

function readMmluRow(
  doc: Row,
  where: string,
): { readonly question: string; readonly choices: readonly string[]; readonly gold: number } {
  const { question } = readTexts(doc, ["question"], where);
  const { choices } = doc;
  if (!isTexts(choices) || choices.length !== letters.length)
    throw badRow(where, "has no four choices", "{question, subject, choices: 4 texts, answer: 0 to 3}");
  return { question, choices, gold: readIndex(doc["answer"], letters.length, where) };
}
