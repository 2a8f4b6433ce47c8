import { acc, accNorm, scoreAccAndNorm } from "../metrics/choice-scores.ts";
import { badRow, isRow, isTexts, type Row, readIndex } from "../row-reader.ts";
import type { ChoiceQuestion, ChoiceTask, TaskFiles } from "../task.ts";

/** AI2 Reasoning Challenge (Clark et al. 2018) as lm-eval's `arc_easy` and `arc_challenge`, version 1. */
export const arcEasy: ChoiceTask = arcTask("arc_easy", "ARC-Easy");
export const arcChallenge: ChoiceTask = arcTask("arc_challenge", "ARC-Challenge");

export function arcFiles(set: string): TaskFiles {
  const paths = (lower: string, upper: string): string[] => [
    `arc/${set}-${lower}.jsonl`,
    `arc/${set}/${set}-${upper}.jsonl`,
    `${set}/${set}-${upper}.jsonl`,
  ];
  return {
    root: "data",
    hub: { repo: "allenai/ai2_arc", config: set },
    splits: {
      test: paths("test", "Test"),
      validation: paths("validation", "Dev"),
      train: paths("train", "Train"),
    },
    defaultSplit: "test",
  };
}

function arcTask(name: string, set: string): ChoiceTask {
  return {
    kind: "multiple_choice",
    name,
    version: 1,
    summary: `${set}: grade-school science questions`,
    files: arcFiles(set),
    fewshot: { from: "split", split: "train", choice: "sample", count: 0 },
    metrics: [acc, accNorm],
    readRow,
    score: scoreAccAndNorm,
  };
}

const forms =
  "{question, choices: {text, label}, answerKey}, {question: {stem, choices: [{text, label}]}, answerKey} or {query, choices, gold}";

/** Three shapes in the wild: the hub's columns, AI2's own lines, and ready prompts with a gold index. */
function readRow(row: Row, where: string): ChoiceQuestion {
  const { text, choices, gold } = readArcRow(row, where);
  return { doc: row, text, answer: choices[gold]!, choices, gold };
}

export interface ArcRow {
  /** `Question: …\nAnswer:` */
  readonly text: string;
  readonly choices: readonly string[];
  readonly gold: number;
}

export function readArcRow(row: Row, where: string): ArcRow {
  if (typeof row["query"] === "string" && isTexts(row["choices"])) {
    const { query, choices } = row;
    return { text: query, choices, gold: readIndex(row["gold"], choices.length, where) };
  }
  const { question, choices, answerKey } = row;
  const stem = isRow(question) ? question["stem"] : question;
  const { texts, labels } = readChoices(isRow(question) ? question["choices"] : choices);
  const gold = labels.indexOf(String(answerKey));
  if (typeof stem !== "string" || gold < 0 || texts.length !== labels.length) {
    throw badRow(where, "is not an ARC question", forms);
  }
  return { text: `Question: ${stem}\nAnswer:`, choices: texts, gold };
}

function readChoices(value: unknown): { texts: string[]; labels: string[] } {
  if (Array.isArray(value)) {
    const items = (value as unknown[]).filter(isRow);
    return {
      texts: items.map((item) => String(item["text"])),
      labels: items.map((item) => String(item["label"])),
    };
  }
  if (!isRow(value) || !isTexts(value["text"]) || !isTexts(value["label"])) return { texts: [], labels: [] };
  return { texts: value["text"], labels: value["label"] };
}
