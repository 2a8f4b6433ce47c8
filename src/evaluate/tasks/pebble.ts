import { badRow, isTexts, parseJsonLines, type Row, readIndex } from "../row-reader.ts";
import type { ChoiceDocument, ChoiceTask, RollingTask } from "../task.ts";

/** Held-out questions about the world of the embedded demonstration model. */
export const pebble: ChoiceTask = {
  kind: "multiple-choice",
  name: "pebble",
  version: 1,
  summary: "questions for the embedded model",
  files: { root: "embedded", splits: { test: ["test.jsonl"] }, defaultSplit: "test" },
  readRow,
};

/** Held-out texts of the same world. */
export const pebbleText: RollingTask = {
  kind: "rolling",
  name: "pebble_text",
  version: 1,
  summary: "perplexity on held-out texts of the embedded model's world",
  files: { root: "embedded", splits: { test: ["heldout.jsonl"] }, defaultSplit: "test" },
  readFile: (content, where) =>
    parseJsonLines(content, where).map((doc, index) => {
      const { text } = doc;
      if (typeof text !== "string")
        throw badRow(`${where}, row ${index + 1},`, "has no text", '{"text": "…"}');
      return { doc, text, countedText: text };
    }),
};

function readRow(row: Row, where: string): ChoiceDocument {
  const { question, choices, label } = row;
  if (typeof question !== "string" || !isTexts(choices))
    throw badRow(where, "is not a question", "{question, choices, label}");
  return {
    doc: row,
    context: `Question: ${question}\nAnswer:`,
    choices,
    gold: readIndex(label, choices.length, where),
  };
}
