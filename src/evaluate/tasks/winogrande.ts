import { acc, scoreAcc } from "../metrics/choice-scores.ts";
import { strip } from "../python-text.ts";
import { badRow, readIndex, readTexts } from "../row-reader.ts";
import type { ChoiceTask } from "../task.ts";

/**
 * WinoGrande XL (Sakaguchi et al. 2019) as lm-eval's `winogrande`, version 1: the text up to the blank with either
 * option filled in is the context, the rest of the sentence is what is scored.
 */
export const winogrande: ChoiceTask = {
  kind: "multiple_choice",
  name: "winogrande",
  version: 1,
  summary: "WinoGrande XL: which of two names fills the blank",
  files: {
    root: "data",
    hub: { repo: "allenai/winogrande", config: "winogrande_xl" },
    splits: {
      validation: ["winogrande/winogrande_xl-validation.jsonl", "winogrande/validation.jsonl"],
      train: ["winogrande/winogrande_xl-train.jsonl", "winogrande/train.jsonl"],
    },
    defaultSplit: "validation",
  },
  fewshot: { from: "split", split: "train", choice: "sample", count: 0, dropsOwnRow: true },
  metrics: [acc],
  readRow: (doc, where) => {
    const { sentence, option1, option2, answer } = readTexts(
      doc,
      ["sentence", "option1", "option2", "answer"],
      where,
    );
    const blank = sentence.indexOf("_");
    if (blank === -1) throw badRow(where, 'has no "_" in its sentence', "a sentence with one blank");
    const choices = [option1, option2].map((option) => sentence.slice(0, blank) + option);
    const gold = readIndex(Number(answer) - 1, 2, where);
    const rest = strip(sentence.slice(blank + 1));
    return { doc, text: choices[gold]!, answer: rest, choices, gold, hasChoiceContexts: true };
  },
  score: scoreAcc,
};
