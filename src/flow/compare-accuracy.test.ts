import { expect, test } from "vitest";
import { evaluationOf, sampleOf } from "../../tests/made-up-evaluation.ts";
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
