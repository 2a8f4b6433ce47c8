import fc from "fast-check";
import { expect, test } from "vitest";
import type { IntegerWeight } from "../base/weights.ts";
import { dequantize } from "../formats/dequantize.ts";
import { requireKernel, unifyWeights } from "./weight-forms.ts";

const cols = 96;

/** Any integer weight of three rows. */
const anyInteger: fc.Arbitrary<IntegerWeight> = fc
  .record({
    bits: fc.constantFrom<(4 | 8)[]>(4, 8),
    groupSize: fc.constantFrom(16, 32, 48, 96),
    hasMinimums: fc.boolean(),
    seed: fc.integer({ min: 1, max: 1 << 20 }),
  })
  .map(({ bits, groupSize, hasMinimums, seed }) => {
    const numGroups = (3 * cols) / groupSize;
    return {
      kind: "integer",
      rows: 3,
      cols,
      bits,
      groupSize,
      codes: Uint8Array.from({ length: (3 * cols * bits) / 8 }, (_, i) => Math.imul(seed, i + 7) >>> 5),
      scales: Float32Array.from({ length: numGroups }, (_, i) => ((seed % 97) + i + 1) / 300),
      minimums: hasMinimums ? Float32Array.from({ length: numGroups }, (_, i) => Math.cos(seed + i)) : null,
      activations: "unspecified",
    };
  });

test("integer matrices of any forms come to one form with every value unchanged", () => {
  fc.assert(
    fc.property(fc.array(anyInteger, { minLength: 1, maxLength: 3 }), (weights) => {
      const unified = unifyWeights(weights, "qkv_proj") as IntegerWeight[];
      const [first] = unified;
      for (const [index, weight] of unified.entries()) {
        expect([weight.bits, weight.groupSize, weight.minimums === null]).toEqual([
          first!.bits,
          first!.groupSize,
          first!.minimums === null,
        ]);
        const [actual, expected] = [dequantize(weight), dequantize(weights[index]!)];
        // Equal as numbers: a minimum of zero turns −0 into 0.
        expect(actual.every((value, i) => value === expected[i])).toBe(true);
      }
    }),
  );
});

test("matrices that agree are passed on without a copy", () => {
  const [weight] = fc.sample(anyInteger, { numRuns: 1, seed: 4 });
  const unified = unifyWeights([weight!, weight!], "qkv_proj") as IntegerWeight[];
  expect(unified[1]!.codes).toBe(weight!.codes);
  expect(unified[1]!.scales).toBe(weight!.scales);
});

test("integers beside floats are refused with the option that helps", () => {
  const [integer] = fc.sample(anyInteger, { numRuns: 1, seed: 1 });
  const data = new Uint8Array(3 * cols * 2);
  const dense = { kind: "dense", rows: 3, cols, dtype: "bf16", data } as const;
  expect(() => unifyWeights([integer!, dense], "layer.qkv_proj")).toThrow(
    /layer.qkv_proj mixes.*--dtype bfloat16/,
  );
  const mixed = unifyWeights([dense, { ...dense, dtype: "f16" }], "qkv_proj");
  expect(mixed.map((weight) => weight.kind === "dense" && weight.dtype)).toEqual(["f32", "f32"]);
});

test("groups that no kernel takes are refused by their size", () => {
  const [weight] = fc.sample(anyInteger, { numRuns: 1, seed: 2 });
  requireKernel({ ...weight!, groupSize: 48 }, "o_proj");
  requireKernel({ ...weight!, groupSize: cols }, "o_proj");
  expect(() => requireKernel({ ...weight!, groupSize: 24 }, "o_proj")).toThrow(
    expect.objectContaining({
      code: "unsupported_format",
      message: expect.stringMatching(
        /^o_proj has integers in groups of 24 over 96 columns; .*multiple of 16/,
      ) as string,
    }),
  );
  expect(() => requireKernel({ ...weight!, cols: 131_088, groupSize: 16 }, "o_proj")).toThrow(
    /131088 columns/,
  );
});
