import { noFilter } from "../filters/filter.ts";
import { exactMatch } from "../metrics/exact-match.ts";
import { areEquivalent, betweenDollars, lastBoxed } from "../metrics/math-equivalence.ts";
import { share } from "../metrics/metric.ts";
import { areSameAnswer, minervaAnswer, normalizeFinalAnswer } from "../metrics/minerva-answer.ts";
import { badRow, parseJsonArray, type Row, readTexts } from "../row-reader.ts";
import type { GenerationSettings, GenerationTask, Shot, TaskFiles, TaskGroup } from "../task.ts";

/** The subjects of MATH: lm-eval's name, the data set's, and its configuration on the hub. */
const subjects = {
  algebra: { title: "Algebra", config: "algebra" },
  counting_and_prob: { title: "Counting & Probability", config: "counting_and_probability" },
  geometry: { title: "Geometry", config: "geometry" },
  intermediate_algebra: { title: "Intermediate Algebra", config: "intermediate_algebra" },
  num_theory: { title: "Number Theory", config: "number_theory" },
  prealgebra: { title: "Prealgebra", config: "prealgebra" },
  precalc: { title: "Precalculus", config: "precalculus" },
} as const;

const generation: GenerationSettings = { until: ["Problem:"], do_sample: false, temperature: 0 };

const math500Files: TaskFiles = {
  root: "data",
  hub: { repo: "HuggingFaceH4/MATH-500", config: null },
  splits: { test: ["math500/test.jsonl"] },
  defaultSplit: "test",
};

/** All 5,000 test problems in one file; rows name their subject in `subject` or `type`. */
function subjectFiles({ title, config }: (typeof subjects)[keyof typeof subjects]): TaskFiles {
  return {
    root: "data",
    hub: { repo: "EleutherAI/hendrycks_math", config },
    splits: { test: ["math/test.jsonl"] },
    defaultSplit: "test",
    select: (row) => (row["subject"] ?? row["type"]) === title,
  };
}

type Set = Pick<GenerationTask, "files"> & { readonly suffix: string; readonly title: string };

const sets: readonly Set[] = Object.entries(subjects).map(([suffix, subject]) => ({
  suffix: `math_${suffix}`,
  title: `MATH, ${subject.title}`,
  files: subjectFiles(subject),
}));
const math500: Set = { suffix: "math500", title: "MATH-500", files: math500Files };

/** MATH (Hendrycks et al. 2021) without examples, as lm-eval's `hendrycks_math_*`, version 1. */
function hendrycksTask({ suffix, title, files }: Set): GenerationTask {
  return {
    kind: "generate_until",
    name: `hendrycks_${suffix}`,
    version: 1,
    summary: `${title}: competition problems, no examples`,
    files,
    fewshot: { from: "none", count: 0 },
    generation,
    filters: [noFilter],
    metrics: [exactMatch],
    readRow: (doc, where) => {
      const { problem, answer } = readProblem(doc, where);
      return { doc, text: `Problem: ${problem}\nAnswer:`, answer };
    },
    score: ({ answer }, written) => ({ exact_match: areEquivalent(betweenDollars(written), answer) ? 1 : 0 }),
  };
}

/**
 * MATH with the four examples of Minerva (Lewkowycz et al. 2022), prompts as lm-eval's `minerva_math_*`, version 3. Its
 * metric needs a computer algebra system; `normalized_match` compares normalised texts and plain numbers instead.
 */
function minervaTask({ suffix, title, files }: Set): GenerationTask {
  return {
    kind: "generate_until",
    name: `minerva_${suffix}`,
    version: 3,
    summary: `${title}: competition problems after four worked examples`,
    files,
    fewshot: { from: "file", path: "shots/minerva.json", read: readShots, count: 4 },
    generation,
    filters: [noFilter],
    metrics: [share("normalized_match")],
    readRow: (doc, where) => {
      const { problem, answer } = readProblem(doc, where);
      return { doc, text: minervaQuestion(problem), answer: normalizeFinalAnswer(answer) };
    },
    score: ({ answer }, written) => {
      const found = minervaAnswer(written);
      return {
        normalized_match: found !== null && areSameAnswer(normalizeFinalAnswer(found), answer) ? 1 : 0,
      };
    },
  };
}

const minervaQuestion = (problem: string): string => `Problem:\n${problem}\n\nSolution:`;

function readShots(text: string, where: string): Shot[] {
  return parseJsonArray(text, where).map((row, index): Shot => {
    const { problem, solution } = readTexts(row, ["problem", "solution"], `${where}, row ${index + 1},`);
    return { text: minervaQuestion(problem), answer: solution };
  });
}

function readProblem(doc: Row, where: string): { readonly problem: string; readonly answer: string } {
  const { problem, solution } = readTexts(doc, ["problem", "solution"], where);
  const answer = lastBoxed(solution);
  if (answer === null) throw badRow(where, "has a solution without \\boxed{…}", "{problem, solution}");
  return { problem, answer };
}

export const mathTasks: readonly GenerationTask[] = [
  hendrycksTask(math500),
  minervaTask(math500),
  ...sets.map(hendrycksTask),
  ...sets.map(minervaTask),
];

export const mathGroups: readonly TaskGroup[] = (
  [
    ["hendrycks_math", "exact_match,none", "1.0"],
    ["minerva_math", "normalized_match,none", null],
  ] as const
).map(([name, key, version]) => ({
  name,
  ...(version === null ? {} : { version }),
  summary: "MATH, all seven subjects",
  members: Object.keys(subjects).map((subject) => `${name}_${subject}`),
  metrics: [{ key, isWeightedBySize: true }],
}));
