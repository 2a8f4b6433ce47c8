import { expect, it } from "vitest";
import { cutCalibration, longestSequence } from "./calibration-tokens.ts";

it("finds the longest of more sequences than a call takes arguments", () => {
  const ids = Array.from({ length: 200_000 }, (_, i) => i % 512);
  const tokens = cutCalibration(ids, { count: ids.length, length: 1 }, "made up");
  expect(tokens.sequences).toHaveLength(200_000);
  expect(longestSequence(tokens)).toBe(1);
});
