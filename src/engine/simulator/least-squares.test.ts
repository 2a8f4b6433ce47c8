import fc from "fast-check";
import { expect, test } from "vitest";
import { solveNonNegative } from "./least-squares.ts";

test("least squares keeps the bound and meets the conditions of its minimum", () => {
  const number = fc.integer({ min: -9, max: 9 });
  const problems = fc.integer({ min: 1, max: 4 }).chain((columns) =>
    fc.record({
      rows: fc.array(fc.array(number, { minLength: columns, maxLength: columns }), {
        minLength: 1,
        maxLength: 8,
      }),
      seed: fc.array(number, { minLength: 8, maxLength: 8 }),
    }),
  );
  fc.assert(
    fc.property(problems, ({ rows, seed }) => {
      const b = rows.map((_, index) => seed[index]!);
      const x = solveNonNegative(rows, b);
      const residual = rows.map((row, i) => row.reduce((sum, term, j) => sum + term * x[j]!, 0) - b[i]!);
      // Karush, Kuhn and Tucker: the gradient is 0 where x is above 0, and never negative.
      for (const [column, value] of x.entries()) {
        const gradient = rows.reduce((sum, row, i) => sum + row[column]! * residual[i]!, 0);
        expect(value).toBeGreaterThanOrEqual(0);
        expect(gradient).toBeGreaterThan(-1e-6);
        if (value > 0) expect(Math.abs(gradient)).toBeLessThan(1e-6);
      }
    }),
  );
});
