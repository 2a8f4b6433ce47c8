import { describe, expect, it } from "vitest";
import { parseJsonArray } from "../row-reader.ts";
import type { Judge } from "./judge.ts";
import { choiceJudge, logOdds, ratingJudge, weightedRating } from "./logprob-verdict.ts";
import { agreementOf, textPairJudge } from "./preference.ts";
import { averagePrecision, type RagRow, type RagTools, ragMetrics } from "./rag-metrics.ts";
import { readAnswerPair, readRagRow, runPreferences, runRag } from "./run-rag.ts";

/** Gives these answers in turn, and keeps what it was asked. */
function scripted(...answers: readonly unknown[]): Judge & { readonly asked: string[] } {
  const asked: string[] = [];
  return {
    asked,
    ask: (prompt) => {
      const answer = answers[asked.length];
      asked.push(prompt);
      if (answer === undefined) return Promise.reject(new Error(`nothing is scripted for ${prompt}`));
      return Promise.resolve(typeof answer === "string" ? answer : JSON.stringify(answer));
    },
  };
}

const row: RagRow = {
  question: "Who wrote it?",
  answer: "Ada wrote it in 1843. It has notes.",
  contexts: ["Ada wrote the notes.", "Rain fell.", "It was 1843."],
  reference: "Ada wrote it.",
};
const toolsOf = (judge: Judge, embed: RagTools["embed"] = null): RagTools => ({ judge, embed });
const verdicts = (...values: readonly number[]): unknown => ({
  verdicts: values.map((verdict) => ({ verdict })),
});

describe("RAG metrics under a scripted judge", () => {
  it("faithfulness is the share of supported statements among the verdicts that came", async () => {
    const judge = scripted({ statements: ["a", "b", "c"] }, verdicts(1, 0, 1));
    expect(await ragMetrics["faithfulness"]!(row, toolsOf(judge))).toBeCloseTo(2 / 3, 15);
    expect(judge.asked[1]).toContain("Ada wrote the notes.\\nRain fell.\\nIt was 1843.");
    expect(await ragMetrics["faithfulness"]!(row, toolsOf(scripted({ statements: [] })))).toBeNull();
  });

  it("context recall judges the reference, and has no value without one", async () => {
    expect(await ragMetrics["context_recall"]!(row, toolsOf(scripted(verdicts(1, 1, 0, 1))))).toBe(0.75);
    expect(
      await ragMetrics["context_recall"]!({ ...row, reference: undefined }, toolsOf(scripted())),
    ).toBeNull();
  });

  it("context precision is the average precision of the order: 1 0 1 gives 5/6, 1 1 0 1 gives 11/12", async () => {
    const judge = scripted({ verdict: 1 }, { verdict: 0 }, { verdict: 1 });
    expect(await ragMetrics["context_precision"]!(row, toolsOf(judge))).toBeCloseTo(5 / 6, 15);
    expect(averagePrecision([1, 1, 0, 1])).toBeCloseTo(11 / 12, 15);
    expect([averagePrecision([0, 0]), averagePrecision([0, 1])]).toEqual([0, 0.5]);
  });

  it("answer relevancy is the mean cosine with the made questions, and 0 where all say that the answer evades", async () => {
    const made = (noncommittal: number): unknown => ({ question: "q", noncommittal });
    const embed = () =>
      Promise.resolve(
        [
          [1, 0],
          [2, 0],
          [0, 3],
          [-1, 0],
        ].map((vector) => Float32Array.from(vector)),
      );
    const relevancy = ragMetrics["answer_relevancy"]!;
    expect(await relevancy(row, toolsOf(scripted(made(0), made(1), made(0)), embed))).toBeCloseTo(0, 15);
    expect(await relevancy(row, toolsOf(scripted(made(1), made(1), made(1)), embed))).toBe(0);
    expect(await relevancy(row, toolsOf(scripted()))).toBeNull();
  });

  it("asks again for an answer without the form, saying what was wrong, and leaves the row undecided after three", async () => {
    const judge = scripted(
      "I think so.",
      { verdicts: [{ verdict: 7 }] },
      'Well:\n```json\n{"verdicts": [{"verdict": true, "text": "} {"}]}\n```',
    );
    expect(await ragMetrics["context_recall"]!(row, toolsOf(judge))).toBe(1);
    expect(judge.asked[2]).toContain("verdicts.0.verdict");
    expect(await ragMetrics["context_recall"]!(row, toolsOf(scripted("a", "b", "c")))).toBeNull();
  });

  it("counts undecided rows apart, and says how far the judge is from itself", async () => {
    const judge = scripted(verdicts(1), verdicts(0), "x", "x", "x", "x", "x", "x");
    const asked: number[] = [];
    const judgeOf = (repeat: number): Judge => {
      asked.push(repeat);
      return judge;
    };
    const options = { metrics: ["context_recall"], repeats: 2, concurrency: 1, judgeOf, embed: null };
    const record = await runRag([row, row], options);
    expect(asked).toEqual([0, 1, 0, 1]);
    expect(record.rows).toEqual([{ context_recall: [1, 0] }, { context_recall: [null, null] }]);
    expect(record.scores[0]).toMatchObject({ value: 0.5, numScored: 1, numUndecided: 1 });
    expect(record.scores[0]!.judgeDeviation).toBeCloseTo(Math.SQRT1_2, 15);
  });
});

describe("preferences", () => {
  const pair = { question: "q", first: "one", second: "two" };

  it.each([
    ["A", "B", "first", false],
    ["B", "A", "second", false],
    ["A", "A", "tie", true],
    ["tie", "B", "tie", false],
  ])("%s and, with the answers swapped, %s is %s", async (straight, swapped, preference, isBiased) => {
    const judge = scripted({ better: straight }, { better: swapped });
    expect(await textPairJudge(judge)(pair, undefined)).toEqual({ preference, isBiased });
    expect(judge.asked.map((prompt) => /"A": "(\w+)"/.exec(prompt)![1])).toEqual(["one", "two"]);
  });

  it("agree beyond chance by Cohen's kappa", () => {
    // 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: agreement 0.7, chance 0.5, kappa 0.4.
    const many = (count: number, a: "first" | "second", b: "first" | "second") =>
      Array.from({ length: count }, () => [a, b] as const);
    const pairs = [
      ...many(20, "first", "first"),
      ...many(5, "first", "second"),
      ...many(10, "second", "first"),
      ...many(15, "second", "second"),
    ];
    const questions = pairs.map((_, index) => `q${index}`);
    const { numPairs, agreement, kappa, interval } = agreementOf(pairs, questions);
    // Of the binomial with 50 trials of 0.7: 0.7 ± 1.96 · 0.065.
    expect(interval!.low).toBeCloseTo(0.57, 1);
    expect(interval!.high).toBeCloseTo(0.83, 1);
    // Five labels of each of ten questions say less than fifty of fifty.
    const few = agreementOf(
      pairs,
      pairs.map((_, index) => `q${Math.floor(index / 5)}`),
    ).interval!;
    expect(few.high - few.low).toBeGreaterThan(1.3 * (interval!.high - interval!.low));
    expect({ numPairs, agreement }).toEqual({ numPairs: 50, agreement: 0.7 });
    expect(kappa).toBeCloseTo(0.4, 12);
  });

  it("of a handful that are all judged alike leave room for doubt", () => {
    const alike = [1, 2, 3, 4].map(() => ["first", "first"] as const);
    const questions = ["a", "a", "b", "c"];
    // Three questions, all right: the share p with p³ = 0.025.
    const all = agreementOf(alike, questions).interval!;
    expect([all.low, all.high]).toEqual([expect.closeTo(0.2924, 4), 1]);
    const apart = alike.map(() => ["first", "tie"] as const);
    const none = agreementOf(apart, questions).interval!;
    expect([none.low, none.high]).toEqual([0, expect.closeTo(1 - 0.2924, 4)]);
  });

  it("are compared with people's where these are known", async () => {
    const judge = scripted(
      { better: "A" },
      { better: "B" },
      { better: "A" },
      { better: "A" },
      "x",
      "x",
      "x",
      { better: "A" },
    );
    const pairs = [{ ...pair, label: "first" as const }, { ...pair, label: "second" as const }, pair];
    const record = await runPreferences(pairs, { judge: textPairJudge(judge), concurrency: 1 });
    expect(record).toMatchObject({
      numPairs: 3,
      numUndecided: 1,
      placeBias: 0.5,
      agreement: { numPairs: 2, agreement: 0.5 },
      agreementWithoutTies: { numPairs: 1, agreement: 1, kappa: null },
    });
  });
});

describe("verdicts from log-probabilities", () => {
  const pair = { question: "q", first: "one", second: "two", reference: "three" };
  /** Tells these tokens with these probabilities in turn. */
  function reader(...steps: readonly Readonly<Record<string, number>>[]) {
    const asked: string[] = [];
    return {
      asked,
      firstTokens: (messages: readonly { readonly content: string }[]) => {
        const tokens = Object.entries(steps[asked.length]!);
        asked.push(messages[0]!.content);
        return Promise.resolve({ tokens: tokens.map(([token, p]) => ({ token, logprob: Math.log(p) })) });
      },
    };
  }

  it("a choice is half the difference of the log-odds in both orders, free of the liking for a place", async () => {
    // Odds of A are 3 times those of the answer's worth, wherever it stands: worth 2 for the first answer.
    const both = reader({ A: 0.6, " A": 0.12, B: 0.12, The: 0.1 }, { A: 0.6, B: 0.4 });
    const judged = await choiceJudge(both)(pair, undefined);
    expect(judged).toMatchObject({ preference: "first", isBiased: true });
    expect(judged!.margin).toBeCloseTo(Math.log(2), 12);
    expect(both.asked[0]).toMatch(/Reference answer:\nthree\n\nAnswer A:\none\n\nAnswer B:\ntwo/);
    expect(both.asked[1]).toMatch(/Answer A:\ntwo\n\nAnswer B:\none/);
    const against = await choiceJudge(reader({ A: 0.1, B: 0.9 }, { A: 0.8, B: 0.1 }))(pair, undefined);
    expect(against).toMatchObject({ preference: "second", isBiased: false });
    expect(await choiceJudge(reader({ A: 1 }, { The: 1 }))(pair, undefined)).toBeNull();
  });

  it("a letter that is not listed is as likely as the last that is, at most", () => {
    const tokens = [
      { token: "A", logprob: -1 },
      { token: "x", logprob: -4 },
    ];
    expect(logOdds(tokens, "A", "B")).toBeCloseTo(3, 12);
    expect(logOdds(tokens, "C", "B")).toBeNull();
  });

  it("a rating is the mean of 1 to 5 weighted by their probabilities", async () => {
    expect(weightedRating([{ token: "Good", logprob: -1 }])).toBeNull();
    const each = reader({ "4": 0.5, " 5": 0.25, Good: 0.25 }, { "1": 0.2, "5": 0.2 });
    const judged = await ratingJudge(each)(pair, undefined);
    expect(judged).toMatchObject({ preference: "first", isBiased: false });
    expect(judged!.margin).toBeCloseTo(13 / 3 - 3, 12);
    expect(each.asked.map((prompt) => /\nAnswer:\n(\w+)/.exec(prompt)![1])).toEqual(["one", "two"]);
  });
});

it("reads rows and pairs, and refuses others by their place", () => {
  expect(readRagRow({ ...row, id: 7 }, "row 1")).toEqual(row);
  expect(() => readRagRow({ question: "q", answer: "a" }, "f, row 3,")).toThrow(
    /f, row 3, is no answer to judge/,
  );
  const [checker] = parseJsonArray(
    '[{"query": "q", "gt_answer": "r", "model1": {"response": "a"}, "model2": {"response": "b"}, "overall_label": -2}]',
    "f",
  );
  expect(readAnswerPair(checker!, "row 1")).toEqual({
    question: "q",
    reference: "r",
    first: "a",
    second: "b",
    label: "first",
  });
  expect(() => readAnswerPair({ question: "q", first: "a", second: "b", label: "left" }, "row 2")).toThrow(
    /is no pair/,
  );
});
