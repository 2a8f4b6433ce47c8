import { expect, test } from "vitest";
import { studentQuantile } from "./quantiles.ts";

test.each([
  // Published table of Student's t, two-sided 95 %.
  [1, 12.706],
  [2, 4.303],
  [4, 2.776],
  [5, 2.571],
  [6, 2.447],
  [10, 2.228],
  [20, 2.086],
  [30, 2.042],
  [120, 1.98],
])("t of %i degrees of freedom is the table's", (freedom, expected) => {
  expect(studentQuantile(freedom)).toBeCloseTo(expected, 3);
});
