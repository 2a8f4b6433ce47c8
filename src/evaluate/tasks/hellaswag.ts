import { acc, accNorm, scoreAccAndNorm } from "../metrics/choice-scores.ts";
import { capitalize, strip } from "../python-text.ts";
import { badRow, isTexts, type Row, readIndex } from "../row-reader.ts";
import type { ChoiceQuestion, ChoiceTask } from "../task.ts";

/** HellaSwag (Zellers et al. 2019) as lm-eval's `hellaswag`, version 1. */
export const hellaswag: ChoiceTask = {
  kind: "multiple_choice",
  name: "hellaswag",
  version: 1,
  summary: "HellaSwag: which ending follows",
  files: {
    root: "data",
    hub: { repo: "Rowan/hellaswag", config: null },
    splits: {
      validation: [
        "hellaswag/validation.jsonl",
        "hellaswag/hellaswag_val.jsonl",
        "hellaswag/validation-sample-1000.jsonl",
      ],
      train: ["hellaswag/train.jsonl", "hellaswag/hellaswag_train.jsonl"],
    },
    defaultSplit: "validation",
  },
  fewshot: { from: "split", split: "train", choice: "sample", count: 0, dropsOwnRow: true },
  metrics: [acc, accNorm],
  readRow,
  score: scoreAccAndNorm,
};

const forms =
  "{activity_label, ctx_a, ctx_b, endings, label}, {activity_label, ctx, endings, label} or {query, choices, gold}";

function readRow(row: Row, where: string): ChoiceQuestion {
  const { text, choices, gold } = readAnyForm(row, where);
  return { doc: row, text, answer: choices[gold]!, choices, gold };
}

function readAnyForm(row: Row, where: string): Pick<ChoiceQuestion, "text" | "choices" | "gold"> {
  if (typeof row["query"] === "string" && isTexts(row["choices"])) {
    const { query, choices } = row;
    return { text: query, choices, gold: readIndex(row["gold"], choices.length, where) };
  }
  const { activity_label: activity, endings, label } = row;
  const context = contextOf(row);
  if (typeof activity !== "string" || context === null || !isTexts(endings))
    throw badRow(where, "is not a HellaSwag row", forms);
  return {
    text: clean(`${activity}: ${context}`),
    choices: endings.map(clean),
    gold: readIndex(label, endings.length, where),
  };
}

/** `ctx_a` and a capitalised `ctx_b`; rows without the two parts have them joined in `ctx`. */
function contextOf(row: Row): string | null {
  const { ctx_a: first, ctx_b: second, ctx } = row;
  if (typeof first === "string" && typeof second === "string") return `${first} ${capitalize(second)}`;
  return typeof ctx === "string" ? ctx : null;
}

/** The strip comes first: a text that began with a bracket mark keeps a blank there. */
function clean(text: string): string {
  return strip(text)
    .replaceAll(" [title]", ". ")
    .replace(/\[[^\n]*?\]/g, "")
    .replaceAll("  ", " ");
}
