import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bf16ToF32 } from "../../base/half.ts";
import { type Grid, type Quantized, valuesOf } from "../grid.ts";
import type { SquaredError } from "../solver.ts";
import { quantizeToNearest } from "./round-to-nearest.ts";
import { searchScales } from "./scale-search.ts";
import { squaredErrors } from "./squared-errors.ts";

const grid = (bits: number, groupSize: number, symmetric = true): Grid => ({
  bits,
  groupSize,
  symmetric,
  roundsSteps: false,
});

/** Reproducible normal numbers (Box and Muller over a linear congruence). */
function normal(count: number): Float32Array {
  let state = 12345;
  const uniform = (): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform()),
  );
}

function roundingError(values: Float32Array, quantized: Quantized): SquaredError {
  return squaredErrors(values, valuesOf(quantized), values.length);
}

function weightedError(values: Float32Array, { codes, scales, zeros }: Quantized, importance: Float32Array) {
  const groupSize = codes.length / scales.length;
  let sum = 0;
  for (const [i, value] of values.entries()) {
    const group = Math.floor(i / groupSize);
    const found = (codes[i]! - (zeros?.[group] ?? 0)) * bf16ToF32(scales[group]!);
    sum += importance[i % importance.length]! * (value - found) ** 2;
  }
  return sum;
}

describe("searchScales", () => {
  const cases = [8, 4, 3, 2].flatMap((bits) => [true, false].map((symmetric) => [bits, symmetric] as const));

  it.each(cases)("is never worse than plain rounding for %i bits, symmetric: %s", (bits, symmetric) => {
    const numbers = fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 64, maxLength: 64 });
    fc.assert(
      fc.property(numbers, (list) => {
        const values = Float32Array.from(list);
        const options = grid(bits, 32, symmetric);
        const found = searchScales(values, options);
        const plain = quantizeToNearest(values, options);
        for (const code of found.codes) {
          expect(code).toBeGreaterThanOrEqual(-(2 ** (bits - 1)));
          expect(code).toBeLessThan(2 ** (bits - 1));
        }
        expect(roundingError(values, found).error).toBeLessThanOrEqual(
          roundingError(values, plain).error * (1 + 1e-12),
        );
      }),
    );
  });

  it.each([
    [4, 128, 0.0107],
    [4, 32, 0.0078],
    [3, 128, 0.042],
  ] as const)(
    "takes the error of normal weights in %i bits, groups of %i, below that of good fixed rules",
    (bits, groupSize, most) => {
      const values = normal(1 << 16);
      const { error, sum } = roundingError(values, searchScales(values, grid(bits, groupSize)));
      expect(error / sum).toBeLessThan(most);
    },
  );

  it("finds weights that lie on a grid, also on one with a negative scale", () => {
    for (const scale of [0.25, -0.25]) {
      const values = Float32Array.from({ length: 32 }, (_, i) => ((i % 16) - 8) * scale);
      const found = searchScales(values, grid(4, 32));
      expect(roundingError(values, found).error).toBe(0);
      expect(bf16ToF32(found.scales[0]!)).toBe(scale);
    }
  });

  it("spends the error where columns count less", () => {
    const values = normal(128 * 64);
    const importance = Float32Array.from({ length: 128 }, (_, i) => (i % 8 === 0 ? 50 : 1));
    const even = searchScales(values, grid(4, 32));
    const weighted = searchScales(values, grid(4, 32), importance);
    expect(weightedError(values, weighted, importance)).toBeLessThan(
      0.9 * weightedError(values, even, importance),
    );
  });

  it("gives a group of zeros codes of zero", () => {
    for (const symmetric of [true, false]) {
      const values = new Float32Array(64);
      const found = searchScales(values, grid(4, 32, symmetric));
      expect(roundingError(values, found).error).toBe(0);
      expect(found.scales.every((scale) => bf16ToF32(scale) > 0)).toBe(true);
    }
  });
});
