import { expect, test } from "vitest";
import type { LoadFigures } from "../records/load-figures.ts";
import { spreadText } from "./stage-text.ts";

const slicesOf = (rates: readonly number[]) =>
  ({ slices: rates.map((outputTokensPerSecond) => ({ outputTokensPerSecond })) }) as Pick<
    LoadFigures,
    "slices"
  >;
const spreadOf = (...rates: readonly number[]): string => spreadText(slicesOf(rates));

test("says how wide the interval of a throughput is, and of a very wide one only that", () => {
  expect(spreadOf(100)).toBe("");
  // exp(4.3027 · ln 1.25 / √3) − 1: the t interval of three logarithms.
  expect(spreadOf(80, 100, 125)).toBe(" ± 74 %");
  // exp(12.7062 · ln 1.5 / 2) − 1 = 12.1, of two.
  expect(spreadOf(80, 120)).toBe(" ± > 100 %");
});

test("the spread of arrivals at a rate is not the server's", () => {
  const slices = slicesOf([80, 100, 125]);
  expect(spreadText({ ...slices, requestRate: 5 })).toBe("");
  expect(spreadText({ ...slices, requestRate: "inf" })).toBe(" ± 74 %");
});
