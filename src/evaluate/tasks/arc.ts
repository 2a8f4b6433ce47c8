import { badRow, isRow, isTexts, type Row, readIndex } from "../row-reader.ts";
import type { ChoiceDocument, ChoiceTask } from "../task.ts";

/** AI2 Reasoning Challenge (Clark et al. 2018) as lm-eval's `arc_easy` and `arc_challenge`, version 1. */
export const arcEasy: ChoiceTask = arcTask("arc_easy", "ARC-Easy");
export const arcChallenge: ChoiceTask = arcTask("arc_challenge", "ARC-Challenge");

function arcTask(name: string, set: string): ChoiceTask {
  const paths = (lower: string, upper: string): string[] => [
    `arc/${set}-${lower}.jsonl`,
    `arc/${set}/${set}-${upper}.jsonl`,
    `${set}/${set}-${upper}.jsonl`,
  ];
  return {
    kind: "multiple-choice",
    name,
    version: 1,
    summary: `${set}: grade-school science questions`,
    files: {
      root: "data",
      splits: {
        test: paths("test", "Test"),
        validation: paths("validation", "Dev"),
        train: paths("train", "Train"),
      },
      defaultSplit: "test",
    },
    readRow,
  };
}

const forms =
  "{question, choices: {text, label}, answerKey}, {question: {stem, choices: [{text, label}]}, answerKey} or {query, choices, gold}";

/** Three shapes in the wild: the hub's columns, AI2's own lines, and ready prompts with a gold index. */
function readRow(row: Row, where: string): ChoiceDocument {
  if (typeof row["query"] === "string" && isTexts(row["choices"])) {
    return {
      doc: row,
      context: row["query"],
      choices: row["choices"],
      gold: readIndex(row["gold"], row["choices"].length, where),
    };
  }
  const { question, choices, answerKey } = row;
  const stem = isRow(question) ? question["stem"] : question;
  const { texts, labels } = readChoices(isRow(question) ? question["choices"] : choices);
  const gold = labels.indexOf(String(answerKey));
  if (typeof stem !== "string" || gold < 0 || texts.length !== labels.length) {
    throw badRow(where, "is not an ARC question", forms);
  }
  return { doc: row, context: `Question: ${stem}\nAnswer:`, choices: texts, gold };
}

function readChoices(value: unknown): { texts: string[]; labels: string[] } {
  const empty = { texts: [], labels: [] };
  if (Array.isArray(value)) {
    const items = (value as unknown[]).filter(isRow);
    return {
      texts: items.map((item) => String(item["text"])),
      labels: items.map((item) => String(item["label"])),
    };
  }
  if (!isRow(value) || !isTexts(value["text"]) || !isTexts(value["label"])) return empty;
  return { texts: value["text"], labels: value["label"] };
}
