import { acc, accNorm, scoreAccAndNorm } from "../metrics/choice-scores.ts";
import { perplexities } from "../metrics/metric.ts";
import { scorePerplexities } from "../metrics/perplexities.ts";
import { badRow, isTexts, type Row, readIndex, readTexts } from "../row-reader.ts";
import type { ChoiceQuestion, ChoiceTask, RollingTask } from "../task.ts";

/** Held-out questions about the world of the embedded demonstration model. */
export const pebble: ChoiceTask = {
  kind: "multiple_choice",
  name: "pebble",
  version: 1,
  summary: "questions for the embedded model",
  files: { root: "embedded", splits: { test: ["models/pebble/task/test.jsonl"] }, defaultSplit: "test" },
  fewshot: { from: "none", count: 0 },
  metrics: [acc, accNorm],
  readRow,
  score: scoreAccAndNorm,
};

/** Held-out texts of the same world. */
export const pebbleText: RollingTask = {
  kind: "loglikelihood_rolling",
  name: "pebble_text",
  version: 1,
  summary: "perplexity on held-out texts of the embedded model's world",
  files: { root: "embedded", splits: { test: ["models/pebble/task/heldout.jsonl"] }, defaultSplit: "test" },
  fewshot: { from: "none", count: 0 },
  metrics: perplexities,
  readRow: (doc, where) => {
    const { text } = readTexts(doc, ["text"], where);
    return { doc, text, countedText: text };
  },
  score: scorePerplexities,
};

function readRow(row: Row, where: string): ChoiceQuestion {
  const { question, choices, label } = row;
  if (typeof question !== "string" || !isTexts(choices))
    throw badRow(where, "is not a question", "{question, choices, label}");
  const gold = readIndex(label, choices.length, where);
  return { doc: row, text: `Question: ${question}\nAnswer:`, answer: choices[gold]!, choices, gold };
}
