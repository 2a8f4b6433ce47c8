import { parseCsv } from "../csv.ts";
import { noFilter } from "../filters/filter.ts";
import { bleu } from "../metrics/bleu.ts";
import { type Scores, share } from "../metrics/metric.ts";
import { rouge } from "../metrics/rouge.ts";
import { strip } from "../python-text.ts";
import { badRow, isTexts, parseJsonLines, type Row, readTexts } from "../row-reader.ts";
import type { GenerationTask } from "../task.ts";
import { truthfulqaPreamble } from "./truthfulqa.ts";

const measures = ["bleu", "rouge1", "rouge2", "rougeL"] as const;
type Measure = (typeof measures)[number];

interface Answers {
  readonly correct: readonly string[];
  readonly incorrect: readonly string[];
}

/** TruthfulQA, written answers (Lin et al. 2022) as lm-eval's `truthfulqa_gen`, version 3. */
export const truthfulqaGen: GenerationTask = {
  kind: "generate_until",
  name: "truthfulqa_gen",
  version: 3,
  summary: "TruthfulQA: written answers nearer to true ones than to false ones",
  files: {
    root: "data",
    hub: { repo: "truthfulqa/truthful_qa", config: "generation" },
    splits: { validation: ["truthfulqa/TruthfulQA-v1.csv", "truthfulqa/generation-validation.jsonl"] },
    defaultSplit: "validation",
    parse: (text, where) =>
      text.trimStart().startsWith("{") ? parseJsonLines(text, where) : parseCsv(text, where),
  },
  fewshot: { from: "none", count: 0 },
  generation: { until: ["\n\n"], do_sample: false, temperature: 0, max_gen_toks: 256 },
  filters: [noFilter],
  metrics: measures.flatMap((name) => [share(`${name}_max`), share(`${name}_acc`), share(`${name}_diff`)]),
  readRow: (doc, where) => {
    readAnswers(doc, where);
    return { doc, text: `${truthfulqaPreamble}Q: ${questionOf(doc, where)}`, answer: " " };
  },
  score: ({ doc }, answer) => scoreAnswer(readAnswers(doc, "truthfulqa_gen"), answer),
};

/** The hub's columns, and those of the authors' table. */
function questionOf(doc: Row, where: string): string {
  if (typeof doc["Question"] === "string") return strip(doc["Question"]);
  return strip(readTexts(doc, ["question"], where).question);
}

function readAnswers(doc: Row, where: string): Answers {
  const correct = listOf(doc["correct_answers"] ?? doc["Correct Answers"]);
  const incorrect = listOf(doc["incorrect_answers"] ?? doc["Incorrect Answers"]);
  if (correct.length === 0 || incorrect.length === 0) {
    throw badRow(
      where,
      "has no answers to compare with",
      "correct_answers and incorrect_answers as lists, or Correct Answers and Incorrect Answers with semicolons",
    );
  }
  const noComment = "I have no comment.";
  return { correct: correct.includes(noComment) ? correct : [...correct, noComment], incorrect };
}

/** Each ends in a full stop. */
function listOf(value: unknown): string[] {
  const texts = typeof value === "string" ? value.split(";") : isTexts(value) ? value : [];
  return texts
    .map(strip)
    .filter((text) => text !== "")
    .map((text) => (text.endsWith(".") ? text : `${text}.`));
}

/** Of each measure: the best against a true answer, by how much it beats the best against a false one, and whether. */
function scoreAnswer({ correct, incorrect }: Answers, answer: string): Scores {
  const best = (references: readonly string[]): Record<Measure, number> => {
    const scores = references.map((reference) => {
      const { rouge1, rouge2, rougeLsum } = rouge(reference, answer);
      return { bleu: bleu(reference, answer), rouge1, rouge2, rougeL: rougeLsum };
    });
    const highest = (name: Measure): number => Math.max(...scores.map((each) => each[name]));
    return {
      bleu: highest("bleu"),
      rouge1: highest("rouge1"),
      rouge2: highest("rouge2"),
      rougeL: highest("rougeL"),
    };
  };
  const [right, wrong] = [best(correct), best(incorrect)];
  return Object.fromEntries(
    measures.flatMap((name) => [
      [`${name}_max`, right[name]],
      [`${name}_acc`, right[name] > wrong[name] ? 1 : 0],
      [`${name}_diff`, right[name] - wrong[name]],
    ]),
  );
}
