import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bf16ToF32 } from "../../base/half.ts";
import type { Grid } from "../grid.ts";
import { packCodes, packedWords } from "../packed-codes.ts";
import { quantizeToNearest } from "./round-to-nearest.ts";

const grid = (bits: number, groupSize: number): Grid => ({
  bits,
  groupSize,
  symmetric: true,
  roundsSteps: false,
});

describe("quantizeToNearest", () => {
  it.each([8, 4, 3, 2])(
    "keeps %i-bit codes in range and errors within half a step where nothing is clamped",
    (bits) => {
      const values = fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 32, maxLength: 32 });
      fc.assert(
        fc.property(values, (weights) => {
          const { codes, scales } = quantizeToNearest(Float32Array.from(weights), grid(bits, 32));
          const scale = bf16ToF32(scales[0]!);
          const max = 2 ** (bits - 1) - 1;
          for (const [i, code] of codes.entries()) {
            expect(code).toBeGreaterThanOrEqual(-max - 1);
            expect(code).toBeLessThanOrEqual(max);
            const isClamped = code === max || code === -max - 1;
            const limit = scale * (isClamped ? 0.5 + max / 128 : 0.5) * (1 + 1e-6);
            expect(Math.abs(weights[i]! - code * scale)).toBeLessThanOrEqual(limit);
          }
        }),
      );
    },
  );

  it("rounds ties to even, as torch does", () => {
    // The largest value 7.5 gives a scale of exactly 1.
    const { codes } = quantizeToNearest(
      Float32Array.of(7.5, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5, -7.5),
      grid(4, 8),
    );
    expect([...codes]).toEqual([7, 0, 2, 2, 0, -2, -2, -8]);
  });

  it("gives a group of zeros a scale above zero and codes of zero", () => {
    const result = quantizeToNearest(new Float32Array(64), grid(4, 32));
    expect([...result.codes].every((code) => code === 0)).toBe(true);
    expect([...result.scales].map(bf16ToF32)).toEqual([0.0078125, 0.0078125]);
  });

  it("scales each group for itself", () => {
    const { codes, scales } = quantizeToNearest(Float32Array.of(7.5, 3, 0.075, 0.03), grid(4, 2));
    expect([...codes]).toEqual([7, 3, 7, 3]);
    expect(bf16ToF32(scales[0]!)).toBe(1);
    expect(bf16ToF32(scales[1]!)).toBeCloseTo(0.01, 4);
  });
});

/** The layout once more, bit by bit on one big integer for each row. */
function packSlowly(codes: Int8Array, cols: number, bits: number): bigint[] {
  const rows: bigint[] = [];
  for (let start = 0; start < codes.length; start += cols) {
    let row = 0n;
    for (let i = 0; i < cols; i += 1) row += BigInt(codes[start + i]! + 2 ** (bits - 1)) << BigInt(i * bits);
    rows.push(row);
  }
  return rows;
}

describe("packCodes", () => {
  it.each([2, 3, 4, 8])("lays %i-bit values end to end from the lowest bit", (bits) => {
    const limit = 2 ** (bits - 1);
    const shape = fc.record({ rows: fc.integer({ min: 1, max: 4 }), cols: fc.integer({ min: 1, max: 70 }) });
    fc.assert(
      fc.property(
        shape,
        fc.infiniteStream(fc.integer({ min: -limit, max: limit - 1 })),
        ({ rows, cols }, stream) => {
          const codes = Int8Array.from({ length: rows * cols }, () => stream.next().value!);
          const packed = packCodes(codes, cols, bits);
          const stride = packedWords(cols, bits) * 4;
          expect(packed).toHaveLength(rows * stride);
          const seen = Array.from({ length: rows }, (_, row) => {
            const bytes = packed.subarray(row * stride, (row + 1) * stride).toReversed();
            return BigInt(`0x${Buffer.from(bytes).toString("hex")}`);
          });
          expect(seen).toEqual(packSlowly(codes, cols, bits));
        },
      ),
    );
  });
});
