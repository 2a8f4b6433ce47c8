import { expect, test } from "vitest";
import { numbers } from "../../tests/odd-weights.ts";
import type { OrderedWeight } from "../base/weights.ts";
import { dequantize } from "../formats/dequantize.ts";
import { createFastestSolver } from "../kernels/create-solver.ts";
import { readValues } from "./read-values.ts";

const [rows, cols, groupSize] = [8, 64, 32];
const codes = Uint8Array.from(numbers(rows * cols, 3), (value) => Math.round(value * 127));
/** Of which the first are denormal, as bf16 scales of tiny rows are. */
const scales = numbers((rows * cols) / groupSize, 5).map((value, i) => (i < 8 ? value * 1e-39 : value));

const weights: readonly OrderedWeight[] = [
  ...([8, 4] as const).flatMap((bits) =>
    [null, scales.map((value) => value / 3)].map(
      (minimums): OrderedWeight => ({
        kind: "integer",
        rows,
        cols,
        bits,
        groupSize,
        codes: codes.subarray(0, (rows * cols * bits) / 8),
        scales,
        minimums,
        activations: "unspecified",
      }),
    ),
  ),
  ...(["f32", "bf16", "f16"] as const).map(
    (dtype): OrderedWeight => ({
      kind: "dense",
      rows,
      cols,
      dtype,
      // Exponents of 0 among others, and none that stand for infinity.
      data: Uint8Array.from({ length: rows * cols * (dtype === "f32" ? 4 : 2) }, (_, i) => (i * 7) % 100),
    }),
  ),
];

test.each(weights)(
  "the kernels read denormal numbers as the files' readers do: $kind of $bits $dtype",
  (weight) => {
    const solver = createFastestSolver(2);
    try {
      const expected = dequantize(weight).map((value) => value + 0);
      expect(expected.some((value) => value !== 0 && Math.abs(value) < 1e-37)).toBe(
        weight.kind === "integer" || weight.dtype !== "f16",
      );
      expect(readValues(weight, solver)).toEqual(expected);
    } finally {
      solver.close();
    }
  },
);
