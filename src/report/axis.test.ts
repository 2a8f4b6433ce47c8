import { expect, test } from "vitest";
import { chooseAxis, placeOn } from "./axis.ts";

const texts = (low: number, high: number): string[] => chooseAxis(low, high).ticks.map(({ text }) => text);

test("takes round steps that hold the range", () => {
  expect(texts(0, 240)).toEqual(["0", "100", "200", "300"]);
  expect(texts(0, 3045)).toEqual(["0", "1000", "2000", "3000", "4000"]);
  expect(texts(0, 4.85)).toEqual(["0", "2", "4", "6"]);
  expect(texts(0, 0.7)).toEqual(["0.0", "0.2", "0.4", "0.6", "0.8"]);
  expect(texts(97.5, 101)).toEqual(["97", "98", "99", "100", "101"]);
});

test("a range without width, or of zeros, still has an axis", () => {
  expect(texts(0, 0)).toEqual(["0.0", "0.5", "1.0"]);
  expect(chooseAxis(5, 5).high).toBeGreaterThan(chooseAxis(5, 5).low);
});

test("places values between two ends", () => {
  const at = placeOn(chooseAxis(0, 4), 100, 20);
  expect([at(0), at(2), at(4)]).toEqual([100, 60, 20]);
});
