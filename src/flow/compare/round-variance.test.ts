import { expect, test } from "vitest";
import { madeUpLevel, roundAt } from "../../../tests/made-up-comparison.ts";
import { roundVariance } from "./round-variance.ts";

/** Levels of a closed loop with these logarithms of the throughput, by level and round. */
const levelsOf = (logs: readonly (readonly number[])[]) =>
  logs.map((rounds, index) =>
    madeUpLevel({ asked: index + 1, rounds: rounds.map((log) => roundAt(Math.exp(log))) }),
  );
const varianceOf = (...variants: readonly (readonly (readonly number[])[])[]) =>
  roundVariance(variants.map(levelsOf), "closed", "outputTokensPerSecond");

test("what all levels of a round share has a degree of freedom for each variant, not for each level", () => {
  const up = [
    [0, 0.2],
    [1, 1.2],
    [2, 2.2],
  ];
  const { squared, freedom } = varianceOf(up, up)!;
  // The variance of 0 and 0.2.
  expect(squared).toBeCloseTo(0.02, 9);
  expect(freedom).toBeCloseTo(2, 6);
});

test("what each level has of its own has one for each level beside the first", () => {
  const crossed = [
    [0, 0.2],
    [1, 0.8],
  ];
  const { squared, freedom } = varianceOf(crossed, crossed)!;
  expect(squared).toBeCloseTo(0.02, 9);
  expect(freedom).toBeCloseTo(2, 6);
  const ofThree = [
    [0, 0.2],
    [1, 1],
    [2, 1.8],
  ];
  const three = varianceOf(ofThree, ofThree)!;
  expect(three.squared).toBeCloseTo(0.04 / 3, 9);
  expect(three.freedom).toBeCloseTo(4, 6);
});

test("both together have Satterthwaite's", () => {
  // Shared 2 · 0.1² · 2 / 2 of 4, own as much: (a + a)² / (a²/2 + a²/2).
  const mixed = [
    [0, 0.4],
    [1, 1],
  ];
  const { squared, freedom } = varianceOf(mixed, mixed)!;
  expect(squared).toBeCloseTo(0.04, 9);
  expect(freedom).toBeCloseTo(4, 6);
});

test("one difference tells no variance, and levels of another kind or with fewer rounds are left out", () => {
  expect(varianceOf([[0, 0.2]])).toBeNull();
  expect(varianceOf([[0]], [[1]])).toBeNull();
  expect(varianceOf([[0, 0.2], [7]], [[0, 0.2]])!.squared).toBeCloseTo(0.02, 9);
  expect(roundVariance([levelsOf([[0, 1]]), levelsOf([[0, 1]])], "open", "outputTokensPerSecond")).toBeNull();
});
