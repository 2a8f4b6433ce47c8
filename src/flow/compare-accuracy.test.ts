import { expect, test } from "vitest";
import { evaluationOf, sampleOf } from "../../tests/made-up-evaluation.ts";
import { standardError } from "../evaluate/statistics.ts";
import type { AccuracyRow } from "../records/comparison.ts";
import type { EvaluationRecord } from "../records/evaluation.ts";
import { accuracyVerdict } from "../report/accuracy.ts";
import { compareAccuracy } from "./compare-accuracy.ts";

type Scores = Readonly<Record<string, number>>;

const right = { acc: 1, acc_norm: 1 };
const wrong = { acc: 0, acc_norm: 0 };

test("names every document that only one run has, and leaves it out of the figures", () => {
  const base = [0, 1, 2, 3].map((id) => sampleOf(id, right));
  const compressed = [
    sampleOf(1, right),
    sampleOf(2, wrong),
    { ...sampleOf(3, right), prompt_hash: "another" },
    sampleOf(9, wrong),
  ];
  const { accuracy, unpaired } = compareAccuracy(
    evaluationOf({ pebble: base, arc_easy: [sampleOf(0, right)] }),
    evaluationOf({ pebble: compressed, hellaswag: [sampleOf(4, right), sampleOf(5, right)] }),
  );
  expect(unpaired).toEqual([
    { task: "pebble", onlyBase: [0, 3], onlyCompressed: [3, 9] },
    { task: "arc_easy", onlyBase: [0], onlyCompressed: [] },
    { task: "hellaswag", onlyBase: [], onlyCompressed: [4, 5] },
  ]);
  expect(accuracy.map(({ task, metric, numDocuments }) => [task, metric, numDocuments])).toEqual([
    ["pebble", "acc", 2],
    ["pebble", "acc_norm", 2],
  ]);
  expect(accuracy[0]).toMatchObject({ base: 1, compressed: 0.5 });
});

test("a document whose right answer changed is no pair", () => {
  const other = { ...sampleOf(0, right), target_hash: "changed" };
  const { unpaired } = compareAccuracy(
    evaluationOf({ pebble: [sampleOf(0, right), sampleOf(1, right)] }),
    evaluationOf({ pebble: [other, sampleOf(1, right)] }),
  );
  expect(unpaired).toEqual([{ task: "pebble", onlyBase: [0], onlyCompressed: [0] }]);
});

test("refuses two evaluations without a common document", () => {
  const base = evaluationOf({
    pebble: [sampleOf(0, right)],
    arc_easy: [sampleOf(0, right), sampleOf(1, right)],
  });
  const compressed = evaluationOf({ pebble: [{ ...sampleOf(0, right), prompt_hash: "another" }] });
  expect(() => compareAccuracy(base, compressed)).toThrow(
    expect.objectContaining({
      code: "nothing_to_compare",
      message: expect.stringMatching(/pebble with 1, arc_easy with 2.*pebble with 1.*same --tasks/) as string,
    }),
  );
});

test("gives the flips of every metric with right and wrong, each by its own answers", () => {
  const pairs: [Scores, Scores][] = [
    [right, wrong],
    [wrong, right],
    [right, { acc: 1, acc_norm: 0 }],
    [right, { acc: 1, acc_norm: 0 }],
    [wrong, { acc: 0, acc_norm: 1 }],
    [right, right],
  ];
  const { accuracy, unpaired } = compareAccuracy(
    evaluationOf({ pebble: pairs.map(([base], id) => sampleOf(id, base)) }),
    evaluationOf({ pebble: pairs.map(([, compressed], id) => sampleOf(id, compressed)) }),
  );
  expect(unpaired).toEqual([]);
  expect(accuracy.map(({ metric, flips }) => [metric, flips])).toEqual([
    ["acc", { lost: [0], gained: [1] }],
    ["acc_norm", { lost: [0, 2, 3], gained: [1, 4] }],
  ]);
});

test("each filter of a task has its own rows, and a document is named once", () => {
  const answers = (id: number, strict: number, flexible: number) => [
    { ...sampleOf(id, { exact_match: strict }), filter: "strict-match" },
    { ...sampleOf(id, { exact_match: flexible }), filter: "flexible-extract" },
  ];
  const { accuracy, unpaired } = compareAccuracy(
    evaluationOf({ gsm8k: [...answers(0, 1, 1), ...answers(1, 0, 1), ...answers(2, 1, 1)] }),
    evaluationOf({ gsm8k: [...answers(0, 0, 1), ...answers(1, 0, 0)] }),
  );
  expect(accuracy.map(({ metric, numDocuments, flips }) => [metric, numDocuments, flips?.lost])).toEqual([
    ["exact_match,strict-match", 2, [0]],
    ["exact_match,flexible-extract", 2, [1]],
  ]);
  expect(unpaired).toEqual([{ task: "gsm8k", onlyBase: [2], onlyCompressed: [] }]);
});

const answersOf = (numRight: number, numAll: number, from = 0) =>
  Array.from({ length: numAll }, (_, id) => sampleOf(from + id, { acc: id < numRight ? 1 : 0 }));

test("pairs groups too: weighted by documents, resampled inside each task, with the flips of all", () => {
  const grouped = (easy: number, hard: number): EvaluationRecord => ({
    ...evaluationOf({ easy: answersOf(easy, 20), hard: answersOf(hard, 40) }),
    groups: { all: { "acc,none": (easy + hard) / 60 } },
    group_subtasks: { all: ["easy", "part"], part: ["hard"] },
    results: {
      easy: { "acc,none": easy / 20, sample_len: 20 },
      hard: { "acc,none": hard / 40, sample_len: 40 },
    },
  });
  const [group, easy, hard] = compareAccuracy(grouped(20, 30), grouped(18, 20)).accuracy;
  expect(group).toMatchObject({
    task: "all",
    parent: null,
    metric: "acc",
    numDocuments: 60,
    base: 50 / 60,
    compressed: 38 / 60,
    numFlips: { lost: 12, gained: 0 },
    flips: null,
  });
  // Binomial by hand: 2 / 2^12.
  expect(group!.pValue).toBeCloseTo(2 / 4096, 12);
  expect(group!.difference).toBeCloseTo(-0.2, 12);
  expect(group!.differenceLow).toBeLessThan(-0.2);
  expect([easy!.parent, hard!.parent]).toEqual(["all", null]);
});

test("a group whose tasks count alike stays so", () => {
  const grouped = (value: number): EvaluationRecord => ({
    ...evaluationOf({ easy: answersOf(20, 20), hard: answersOf(10, 40) }),
    groups: { all: { "acc,none": value } },
    group_subtasks: { all: ["easy", "hard"] },
    results: { easy: { "acc,none": 1, sample_len: 20 }, hard: { "acc,none": 0.25, sample_len: 40 } },
  });
  expect(compareAccuracy(grouped(0.625), grouped(0.625)).accuracy[0]!.base).toBe(0.625);
  expect(compareAccuracy(grouped(0.5), grouped(0.5)).accuracy[0]!.base).toBe(0.5);
});

test("says what difference could be seen: 2.80 standard errors of the paired difference, and no less than three flips' worth", () => {
  const flipped = (numLost: number, numGained: number) => {
    const base = Array.from({ length: 400 }, (_, id) => sampleOf(id, { acc: id < 200 ? 1 : 0 }));
    const compressed = base.map((sample, id) =>
      id < numLost || (id >= 200 && id < 200 + numGained) ? sampleOf(id, { acc: id < 200 ? 0 : 1 }) : sample,
    );
    return compareAccuracy(evaluationOf({ t: base }), evaluationOf({ t: compressed })).accuracy[0]!;
  };
  const { difference, detectable } = flipped(30, 10);
  expect(difference).toBeCloseTo(-0.05, 12);
  // Variance of the mean difference of 40 flips: (40 − 400 · 0.05²) / 400².
  const error = Math.sqrt(40 - 400 * 0.05 ** 2) / 400;
  expect(detectable! / (2.8016 * error)).toBeCloseTo(1, 1);
  // z² / (n + z²) by hand.
  expect(flipped(0, 0).difference).toBe(0);
  expect(flipped(0, 0).differenceLow).toBeCloseTo(-3.841459 / 403.841459, 9);
  expect(flipped(0, 0).differenceHigh).toBeCloseTo(3.841459 / 403.841459, 9);
  expect(flipped(0, 0).detectable).toBeCloseTo((2.8016 * Math.sqrt(3)) / 400, 5);
});

test("ten documents without a flip are no proof of equality; 385 right answers without one are", () => {
  const unchanged = (numRight: number, numAll: number): AccuracyRow => {
    const evaluation = evaluationOf({ t: answersOf(numRight, numAll) });
    return compareAccuracy(evaluation, evaluation).accuracy[0]!;
  };
  expect(unchanged(7, 10)).toMatchObject({ recovery: 1, difference: 0, pValue: 1 });
  expect(unchanged(7, 10).recoveryLow).toBeLessThan(0.7);
  expect(accuracyVerdict(unchanged(7, 10))).toBe("undetermined");
  expect(accuracyVerdict(unchanged(0, 500))).toBe("undetermined");
  expect(accuracyVerdict(unchanged(384, 384))).toBe("undetermined");
  expect(accuracyVerdict(unchanged(385, 385))).toBe("equivalent");
});

/** exp(−mean) of a made-up log-likelihood of each document, changed in the first ones. */
const perplexities = (numDocuments: number, numChanged: number, change: number): EvaluationRecord => ({
  ...evaluationOf({
    t: Array.from({ length: numDocuments }, (_, id) =>
      sampleOf(id, { perplexity: -2 - (id % 5) / 10 - (id < numChanged ? change * (1 + (id % 3)) : 0) }),
    ),
  }),
  higher_is_better: { t: { perplexity: false } },
});

test("where hardly a document's score differs, resampling gives no interval and no verdict", () => {
  const before = perplexities(100, 0, 0);
  const row = (numChanged: number, change: number): AccuracyRow =>
    compareAccuracy(before, perplexities(100, numChanged, change)).accuracy.find(
      ({ metric }) => metric === "perplexity",
    )!;
  for (const numChanged of [0, 9]) {
    const few = row(numChanged, 0.0001);
    expect(few).toMatchObject({ recoveryLow: null, differenceHigh: null, detectable: null, numFlips: null });
    expect(accuracyVerdict(few)).toBe("undetermined");
  }
  // A loss that is sure and of no importance.
  expect(accuracyVerdict(row(100, 0.0001))).toBe("equivalent");
  expect(accuracyVerdict(row(100, 0.2))).toBe("worse");
});

test("an interval from ten documents is as wide as Student's t makes it", () => {
  const changes = [0.3, -0.2, 0.1, 0.4, -0.1, 0.2, 0.5, -0.3, 0.15, 0.05];
  const evaluation = (by: readonly number[]): EvaluationRecord =>
    evaluationOf({ t: by.map((value, id) => sampleOf(id, { acc: 0.5 + value })) });
  const { difference, differenceLow, differenceHigh } = compareAccuracy(
    evaluation(changes.map(() => 0)),
    evaluation(changes),
  ).accuracy[0]!;
  // t of 9 degrees of freedom, 2.262, times the standard error of the mean.
  const half = 2.262 * standardError(changes)!;
  expect(difference).toBeCloseTo(0.11, 12);
  expect((differenceHigh! - differenceLow!) / (2 * half)).toBeCloseTo(1, 1);
});

test("keeps what both answered where only one is right", () => {
  const choice = (id: number, acc: 0 | 1, best: number) => ({
    ...sampleOf(id, { acc }),
    arguments: [
      ["Q: two?\nA:", " 1"],
      ["Q: two?\nA:", " 2"],
    ],
    filtered_resps: [0, 1].map((i) => [i === best ? -1 : -3, false] as const),
    target: 1,
  });
  const base = evaluationOf({ t: [choice(0, 1, 1), choice(1, 1, 1)] });
  const compressed = evaluationOf({ t: [choice(0, 1, 1), choice(1, 0, 0)] });
  expect(compareAccuracy(base, compressed).changed).toEqual([
    {
      task: "t",
      metric: "acc",
      change: "lost",
      docId: 1,
      prompt: "Q: two?\nA:",
      target: "1",
      choices: [
        { text: " 1", base: -3, compressed: -1 },
        { text: " 2", base: -1, compressed: -3 },
      ],
      written: null,
    },
  ]);
});
