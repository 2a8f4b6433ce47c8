import { expect, test } from "vitest";
import { summarizeDivergences } from "./summarize.ts";
import { emptyDivergences } from "./token-divergences.ts";

test("takes windows as the unit of the errors where there are ten", () => {
  const found = emptyDivergences(Array.from({ length: 10 }, () => new Int32Array(5)));
  // Equal inside each window: the tokens of a window say the same thing four times.
  for (let i = 0; i < 40; i += 1) found.kl[i] = Math.floor(i / 4);
  const { kl, errorsOver } = summarizeDivergences(found);
  expect(errorsOver).toBe("windows");
  const deviation = Math.sqrt([0, 1, 2, 3, 4, 5, 6, 7, 8, 9].reduce((sum, x) => sum + (x - 4.5) ** 2, 0) / 9);
  expect(kl.standardError).toBeCloseTo(deviation / Math.sqrt(10), 12);
});
