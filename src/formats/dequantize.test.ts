import { expect, it } from "vitest";
import type { IntegerWeight, ReorderedWeight } from "../base/weights.ts";
import { dequantize, narrowFloats, toDense } from "./dequantize.ts";

it("makes the same 16-bit floats of a matrix, however few of its rows it widens at a time", () => {
  const [rows, cols] = [4001, 334];
  const byteAt = (i: number): number => (Math.imul(i + 7, 0x9e3779b1) >>> 16) & 255;
  const matrix: IntegerWeight = {
    kind: "integer",
    rows,
    cols,
    bits: 4,
    groupSize: cols,
    codes: Uint8Array.from({ length: (rows * cols) / 2 }, (_, i) => byteAt(i)),
    scales: Float32Array.from({ length: rows }, (_, row) => 1 + byteAt(row) / 100),
    minimums: Float32Array.from({ length: rows }, (_, row) => -byteAt(row + 1) / 10),
    activations: "unspecified",
  };
  const columns = Int32Array.from({ length: cols }, (_, col) => cols - 1 - col);
  const reordered: ReorderedWeight = { kind: "reordered", rows, cols, matrix, columns };
  for (const weight of [matrix, reordered]) {
    for (const dtype of ["bf16", "f16"] as const) {
      const found = toDense(weight, dtype);
      expect(found).toMatchObject({ kind: "dense", rows, cols, dtype });
      expect(Buffer.compare(found.data, narrowFloats(dequantize(weight), dtype))).toBe(0);
    }
  }
});
