import type { FilterPipeline } from "../filters/filter.ts";
import { createExactMatch, exactMatch } from "../metrics/exact-match.ts";
import { strip, stripStart } from "../python-text.ts";
import { badRow, isRow, isTexts } from "../row-reader.ts";
import type { GenerationTask } from "../task.ts";
import { arcFiles } from "./arc.ts";

const withoutSpace: FilterPipeline = { name: "remove_whitespace", steps: [stripStart] };
const isSameLetter = createExactMatch({ ignoresCase: true, ignoresPunctuation: true });

/**
 * ARC-Challenge asked of chat models, as lm-eval's `arc_challenge_chat`, version 1. Its prompt holds a backslash and an
 * n where line feeds were meant: a slip of the task's definition that is part of its figures.
 */
export const arcChallengeChat: GenerationTask = {
  kind: "generate_until",
  name: "arc_challenge_chat",
  version: 1,
  summary: "ARC-Challenge: the letter, written after a fixed beginning",
  files: arcFiles("ARC-Challenge"),
  fewshot: { from: "split", split: "train", choice: "sample", count: 0 },
  prompt: { genPrefix: "The best answer is" },
  generation: { max_gen_toks: 100, until: ["\n\n", "."] },
  filters: [withoutSpace],
  metrics: [exactMatch],
  readRow: (doc, where) => {
    const { question, choices, answerKey } = doc;
    const texts = isRow(choices) ? choices["text"] : undefined;
    if (typeof question !== "string" || !isTexts(texts) || texts.length < 3 || typeof answerKey !== "string")
      throw badRow(where, "is not an ARC question", "{question, choices: {text, label}, answerKey}");
    const options = texts.slice(0, 4).map((text, i) => `${"ABCD"[i]}. ${text}`);
    const lines = [
      "Given the following question and four candidate answers (A, B, C and D), choose the best answer.",
      `Question: ${strip(question)}`,
      ...options,
      'Your response should end with "The best answer is [the_answer_letter]" where the [the_answer_letter] is one of A, B, C or D.',
    ];
    const answer = "1234".includes(answerKey) ? "ABCD"[Number(answerKey) - 1]! : answerKey;
    return { doc, text: lines.join("\\n"), answer };
  },
  score: ({ answer }, written) => ({ exact_match: isSameLetter(written, answer) }),
};
