import { describe, expect, it } from "vitest";
import { applyFilters } from "../filters/filter.ts";
import type { ChoiceTask, GenerationTask } from "../task.ts";
import { builtInTasks } from "../task-registry.ts";
import { arcChallengeChat } from "./arc-chat.ts";
import { gsm8kCotZeroshot } from "./gsm8k.ts";
import { boolq, openbookqa, sciq } from "./simple-choices.ts";
import { truthfulqaMc2 } from "./truthfulqa.ts";
import { winogrande } from "./winogrande.ts";

const likelihood = (logLikelihood: number): { logLikelihood: number; isGreedy: boolean } => ({
  logLikelihood,
  isGreedy: false,
});

// No file of lm-eval's covers these: the cases are worked out by hand from the tasks' definitions.
describe("choice tasks without recorded samples", () => {
  it("puts WinoGrande's options before the blank and scores the rest", () => {
    const row = { sentence: "The cat, not the _ , slept .", option1: "dog", option2: "fox", answer: "2" };
    expect(winogrande.readRow(row, "row")).toMatchObject({
      choices: ["The cat, not the dog", "The cat, not the fox"],
      answer: ", slept .",
      gold: 1,
      text: "The cat, not the fox",
    });
  });

  it("reads OpenBookQA's stems, BoolQ's passages and SciQ's four answers", () => {
    const book = {
      question_stem: "Ice is",
      choices: { text: ["hot", "cold"], label: ["A", "B"] },
      answerKey: "B",
    };
    expect(openbookqa.readRow(book, "row")).toMatchObject({ text: "Ice is", gold: 1, answer: "cold" });
    const bool = { passage: "Ice melts.", question: "does ice melt", label: true };
    expect(boolq.readRow(bool, "row")).toMatchObject({
      text: "Ice melts.\nQuestion: does ice melt?\nAnswer:",
      choices: ["no", "yes"],
      gold: 1,
    });
    const science = {
      support: " \nA text.",
      question: "What?",
      distractor1: "a",
      distractor2: "b",
      distractor3: "c",
      correct_answer: "d",
    };
    expect(sciq.readRow(science, "row")).toMatchObject({
      text: "A text.\nQuestion: What?\nAnswer:",
      choices: ["a", "b", "c", "d"],
      gold: 3,
    });
  });

  it("gives TruthfulQA mc2 the share of probability on true answers", () => {
    const row = { question: "Q?", mc2_targets: { yes: 1, no: 0, maybe: 1 } };
    const question = truthfulqaMc2.readRow(row, "row");
    const odds = [0.5, 0.3, 0.1].map((value) => likelihood(Math.log(value)));
    expect(truthfulqaMc2.score(question, odds)["acc"]).toBeCloseTo(0.6 / 0.9, 12);
  });

  it("asks MMLU by the texts of its answers", () => {
    const task = builtInTasks.find("mmlu_anatomy_continuation") as ChoiceTask;
    const row = { question: "Why?", subject: "anatomy", choices: ["w", "x", "y", "z"], answer: 2 };
    expect(task.readRow(row, "row")).toMatchObject({ text: "Question: Why?\nAnswer:", answer: "y", gold: 2 });
  });
});

describe("written tasks without recorded samples", () => {
  it("asks ARC of chat models with the definition's literal backslash and n", () => {
    const row = {
      question: " Why? ",
      choices: { text: ["a", "b", "c"], label: ["1", "2", "3"] },
      answerKey: "3",
    };
    const question = arcChallengeChat.readRow(row, "row");
    expect(question.text).toContain("best answer.\\nQuestion: Why?\\nA. a\\nB. b\\nC. c\\nYour response");
    expect(question.answer).toBe("C");
    expect(arcChallengeChat.score(question, "c.")).toEqual({ exact_match: 1 });
  });

  it.each([
    ["Final Answer: The final answer is $12$. I hope it is correct.", 1],
    ["Final Answer: The final answer is $\\frac{24}{2}$. I hope it is correct.", 1],
    ["Final Answer: The final answer is $12 \\text{ m}$. I hope it is correct.", 1],
    ["Final Answer: The final answer is $13$. I hope it is correct.", 0],
    ["The answer is 12.", 0],
  ])("compares %j with minerva's answer 12", (written, wanted) => {
    const task = builtInTasks.find("minerva_math500") as GenerationTask;
    const question = task.readRow({ problem: "p", solution: "so $\\boxed{12}$" }, "row");
    expect(question.text).toBe("Problem:\np\n\nSolution:");
    expect(task.score(question, written)).toEqual({ normalized_match: wanted });
  });

  it.each([
    ["So it is 18. The answer is $1,850.", "[invalid]", 0, "$1,850.", 1],
    ["The answer is 1,850. Not 3.", "1,850.", 1, "3.", 0],
  ])("takes GSM8K's number out of %j", (written, strict, strictScore, flexible, flexibleScore) => {
    const row = { question: "How many?", answer: "9 + 9\n#### 1850" };
    const question = gsm8kCotZeroshot.readRow(row, "row");
    expect(question.text).toBe("Q: How many?\nA: Let's think step by step.");
    const found = gsm8kCotZeroshot.filters.map((filter) => applyFilters(filter, [written], question));
    expect(found).toEqual([strict, flexible]);
    const scores = found.map((answer) => gsm8kCotZeroshot.score(question, String(answer))["exact_match"]);
    expect(scores).toEqual([strictScore, flexibleScore]);
  });

  it("gives BBH's short examples the answers of their chains, and compares case by case", () => {
    const task = builtInTasks.find("bbh_fewshot_navigate") as GenerationTask;
    const file = `canary\n-----\nDescribed.\n\nQ: Left?\nA: Let's think step by step.\nWe turn. So the answer is No.\n`;
    const { fewshot } = task;
    if (fewshot.from !== "file") throw new Error("the examples are in a file");
    expect(fewshot.read(file, "file")).toEqual([{ text: "Q: Left?\nA:", answer: "No" }]);
    const question = task.readRow({ input: "Right?", target: "Yes" }, "row");
    expect(question.text).toBe("Q: Right?\nA:");
    expect(["Yes", "yes", "Yes."].map((written) => task.score(question, written)["exact_match"])).toEqual([
      1, 0, 0,
    ]);
  });

  it.each([
    ["object_counting", "input", "5", " I count twenty five and then 5.", "5"],
    ["object_counting", "input", "twenty five", "there are twenty five", "25"],
    ["word_sorting", "Sort: List: b a c", "a b c", "first a then b, then c", "a b c"],
    ["sports_understanding", "input", "no", "It is not plausible.", "no"],
    ["date_understanding", "When?\n(A) today\n(B) tomorrow", "(B)", "It was Tomorrow!", "(B)"],
  ])("extracts the answer of BBH %s without examples", (subset, input, target, written, answer) => {
    const task = builtInTasks.find(`bbh_zeroshot_${subset}`) as GenerationTask;
    const question = task.readRow({ input, target }, "row");
    const filter = task.filters.find(({ name }) => name === "flexible-extract")!;
    expect(applyFilters(filter, [written], question)).toBe(answer);
  });
});
