import fc from "fast-check";
import { expect, test } from "vitest";
import { checksumBytes, rowChecksums } from "./row-checksums.ts";

const cols = 6;
const matrix = fc
  .array(fc.float({ noNaN: true }), { minLength: 2 * cols, maxLength: 2 * cols })
  .map((values) => Float32Array.from(values));

test("is the two sums of each row", () => {
  fc.assert(
    fc.property(matrix, (values) => {
      const words = [...new Uint32Array(values.buffer)].map(BigInt);
      const sums = [0, 1].flatMap((row) => {
        const own = words.slice(row * cols, (row + 1) * cols);
        const weighted = own.map((word, i) => BigInt(i + 1) * word);
        return [own, weighted].map((terms) =>
          BigInt.asUintN(
            64,
            terms.reduce((a, b) => a + b, 0n),
          ),
        );
      });
      expect([...new BigUint64Array(rowChecksums(values, cols).buffer)]).toEqual(sums);
    }),
  );
});

test("tells a value that is another one and two that changed places, in their row alone", () => {
  const cell = fc.nat(cols - 1);
  fc.assert(
    fc.property(matrix, cell, cell, fc.float({ noNaN: true }), (values, i, j, other) => {
      const changed = values.slice();
      changed[cols + i] = other;
      const swapped = values.slice();
      [swapped[cols + i], swapped[cols + j]] = [values[cols + j]!, values[cols + i]!];
      const before = rowChecksums(values, cols);
      for (const made of [changed, swapped]) {
        const after = rowChecksums(made, cols);
        expect(after.subarray(0, checksumBytes)).toEqual(before.subarray(0, checksumBytes));
        const isSame = made.every((value, at) => Object.is(value, values[at]));
        expect(after.every((byte, at) => byte === before[at])).toBe(isSame);
      }
    }),
  );
});

test("goes over matrices whose sums take more than 53 bits", () => {
  const wide = new Float32Array(50_000).fill(-1);
  const word = 0xbf800000n;
  const weighted = (word * 50_000n * 50_001n) / 2n;
  expect([...new BigUint64Array(rowChecksums(wide, wide.length).buffer)]).toEqual([word * 50_000n, weighted]);
});
