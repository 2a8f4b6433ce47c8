import { expect, it } from "vitest";
import { describeFallbacks } from "./fallbacks.ts";

it("says how many linears fell back to what, be it one, and nothing of the others", () => {
  const linears = [
    { module: "a", fallback: null },
    { module: "b", fallback: "damped" },
    { module: "c", fallback: "unseen" },
    { module: "d", fallback: "damped" },
  ] as const;
  expect(describeFallbacks(linears)).toEqual([
    "1 linear got no calibration token and has scales by mse: c.",
    "2 linears needed more damping than 0.01, the first b.",
  ]);
  expect(describeFallbacks([linears[0]])).toEqual([]);
});
