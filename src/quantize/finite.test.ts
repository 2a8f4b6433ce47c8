import { expect, test } from "vitest";
import { referenceSolver } from "../kernels/reference/reference-solver.ts";
import { checkFinite } from "./finite.ts";

test("finite values of any size pass", () => {
  expect(() =>
    checkFinite("w", Float32Array.of(0, -0, 3.4e38, -3.4e38, 1e-45), referenceSolver),
  ).not.toThrow();
  expect(() => checkFinite("w", new Float32Array(), referenceSolver)).not.toThrow();
});

test.each([
  [[1, Infinity, NaN], 2, "Infinity, element 1"],
  [[NaN], 1, "NaN, element 0"],
  [[0, 0, -Infinity, 0], 1, "-Infinity, element 2"],
])("%j is refused with the number of bad values and the first", (values, count, first) => {
  expect(() => checkFinite("model.norm.weight", Float32Array.from(values), referenceSolver)).toThrow(
    expect.objectContaining({
      code: "model_not_finite",
      message: expect.stringContaining(
        `model.norm.weight holds ${count} of ${values.length} values that are NaN or infinite (the first is ${first})`,
      ) as string,
    }),
  );
});
