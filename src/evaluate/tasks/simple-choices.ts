import { acc, accNorm, scoreAcc, scoreAccAndNorm } from "../metrics/choice-scores.ts";
import { stripStart } from "../python-text.ts";
import { badRow, isRow, isTexts, type Row, readIndex, readTexts } from "../row-reader.ts";
import type { ChoiceQuestion, ChoiceTask } from "../task.ts";

/** PIQA (Bisk et al. 2020) as lm-eval's `piqa`, version 1. */
export const piqa: ChoiceTask = {
  kind: "multiple_choice",
  name: "piqa",
  version: 1,
  summary: "PIQA: which of two ways reaches a goal",
  files: {
    root: "data",
    hub: { repo: "baber/piqa", config: null },
    splits: {
      validation: ["piqa/validation.jsonl", "piqa/plain_text-validation.jsonl"],
      train: ["piqa/train.jsonl", "piqa/plain_text-train.jsonl"],
    },
    defaultSplit: "validation",
  },
  fewshot: { from: "split", split: "train", choice: "sample", count: 0, dropsOwnRow: true },
  metrics: [acc, accNorm],
  readRow: (doc, where) => {
    const { goal, sol1, sol2 } = readTexts(doc, ["goal", "sol1", "sol2"], where);
    const gold = readIndex(doc["label"], 2, where);
    return choiceQuestion(doc, `Question: ${goal}\nAnswer:`, [sol1, sol2], gold);
  },
  score: scoreAccAndNorm,
};

/** OpenBookQA (Mihaylov et al. 2018) as lm-eval's `openbookqa`, version 1: the stem alone is the prompt. */
export const openbookqa: ChoiceTask = {
  kind: "multiple_choice",
  name: "openbookqa",
  version: 1,
  summary: "OpenBookQA: elementary science, stem to be completed",
  files: {
    root: "data",
    hub: { repo: "allenai/openbookqa", config: "main" },
    splits: {
      test: ["openbookqa/main-test.jsonl", "openbookqa/openbook_qa-test.jsonl"],
      validation: ["openbookqa/main-validation.jsonl"],
      train: ["openbookqa/main-train.jsonl"],
    },
    defaultSplit: "test",
  },
  fewshot: { from: "split", split: "train", choice: "sample", count: 0 },
  metrics: [acc, accNorm],
  readRow: readOpenBookRow,
  score: scoreAccAndNorm,
};

function readOpenBookRow(doc: Row, where: string): ChoiceQuestion {
  const { query, question_stem: stem, choices, answerKey } = doc;
  if (typeof query === "string" && isTexts(choices)) {
    return choiceQuestion(doc, query, choices, readIndex(doc["gold"], choices.length, where));
  }
  const texts = isRow(choices) ? choices["text"] : null;
  const labels = isRow(choices) ? choices["label"] : null;
  const gold = isTexts(labels) ? labels.indexOf(String(answerKey)) : -1;
  if (typeof stem !== "string" || !isTexts(texts) || gold < 0 || gold >= texts.length) {
    throw badRow(
      where,
      "is not an OpenBookQA question",
      "{question_stem, choices: {text, label}, answerKey} or {query, choices, gold}",
    );
  }
  return choiceQuestion(doc, stem, texts, gold);
}

/** BoolQ (Clark et al. 2019) as lm-eval's `boolq`, version 2. */
export const boolq: ChoiceTask = {
  kind: "multiple_choice",
  name: "boolq",
  version: 2,
  summary: "BoolQ: yes or no from a passage",
  files: {
    root: "data",
    hub: { repo: "aps/super_glue", config: "boolq" },
    splits: { validation: ["boolq/validation.jsonl"], train: ["boolq/train.jsonl"] },
    defaultSplit: "validation",
  },
  fewshot: { from: "split", split: "train", choice: "sample", count: 0 },
  metrics: [acc],
  readRow: (doc, where) => {
    const { passage, question } = readTexts(doc, ["passage", "question"], where);
    const label = typeof doc["label"] === "boolean" ? Number(doc["label"]) : doc["label"];
    const gold = readIndex(label, 2, where);
    return choiceQuestion(doc, `${passage}\nQuestion: ${question}?\nAnswer:`, ["no", "yes"], gold);
  },
  score: scoreAcc,
};

/** SciQ (Welbl et al. 2017) as lm-eval's `sciq`, version 1: the right answer always stands last. */
export const sciq: ChoiceTask = {
  kind: "multiple_choice",
  name: "sciq",
  version: 1,
  summary: "SciQ: science questions with a supporting text",
  files: {
    root: "data",
    hub: { repo: "allenai/sciq", config: null },
    splits: {
      test: ["sciq/test.jsonl"],
      validation: ["sciq/validation.jsonl"],
      train: ["sciq/train.jsonl"],
    },
    defaultSplit: "test",
  },
  fewshot: { from: "split", split: "train", choice: "sample", count: 0 },
  metrics: [acc, accNorm],
  readRow: (doc, where) => {
    const keys = [
      "support",
      "question",
      "distractor1",
      "distractor2",
      "distractor3",
      "correct_answer",
    ] as const;
    const row = readTexts(doc, keys, where);
    const text = `${stripStart(row.support)}\nQuestion: ${row.question}\nAnswer:`;
    return choiceQuestion(
      doc,
      text,
      [row.distractor1, row.distractor2, row.distractor3, row.correct_answer],
      3,
    );
  },
  score: scoreAccAndNorm,
};

function choiceQuestion(doc: Row, text: string, choices: readonly string[], gold: number): ChoiceQuestion {
  return { doc, text, answer: choices[gold]!, choices, gold };
}
