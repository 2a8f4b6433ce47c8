import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { f32ToF16 } from "../base/half.ts";
import type { IntegerWeight, OrderedWeight, WeightBlocks } from "../base/weights.ts";
import { readBlocks } from "../formats/gguf/blocks.ts";
import { createOps, nativeStatus } from "../kernels/create-ops.ts";
import { plainBatch } from "../kernels/native/test-batches.ts";
import { unifyWeights } from "./weight-forms.ts";

/** Columns: whole blocks of each type, and an odd number of the small ones where they allow it. */
const types = {
  Q4_0: { bytes: 18, values: 32, halves: [0], cols: 96 },
  Q4_1: { bytes: 20, values: 32, halves: [0, 2], cols: 96 },
  Q5_0: { bytes: 22, values: 32, halves: [0], cols: 96 },
  Q5_1: { bytes: 24, values: 32, halves: [0, 2], cols: 96 },
  Q8_0: { bytes: 34, values: 32, halves: [0], cols: 96 },
  Q6_K: { bytes: 210, values: 256, halves: [208], cols: 512 },
} as const satisfies Record<WeightBlocks["type"], unknown>;

/** A matrix as a GGUF file may hold it: any bytes, but numbers for scales and minimums. */
function fileWeight(type: WeightBlocks["type"], rows: number, cols: number, headDim: number, seed: number) {
  const { bytes, values, halves } = types[type];
  const numBlocks = (rows * cols) / values;
  const data = Uint8Array.from({ length: numBlocks * bytes }, (_, i) => Math.imul(seed, i * i + 7) >>> 11);
  const view = new DataView(data.buffer);
  for (let block = 0; block < numBlocks; block += 1) {
    for (const at of halves)
      view.setUint16(block * bytes + at, f32ToF16(Math.sin(seed + block + at) / 64), true);
  }
  return readBlocks({ type, rows, cols, data, pairedHeadDim: headDim }) as IntegerWeight;
}

/** The same matrix without the file's blocks. */
function withoutBlocks(weight: IntegerWeight): OrderedWeight {
  const { kind, rows, cols, bits, groupSize, codes, scales, minimums, activations } = weight;
  return { kind, rows, cols, bits, groupSize, codes, scales, minimums, activations };
}

/** Rows of the packed matrix, and what it is called. */
function pack(isa: string, parts: readonly OrderedWeight[], layout: "rows" | "paired"): unknown {
  const { ops } = createOps({ backend: "native", isa, numThreads: 2 });
  try {
    const packed = ops.packLinear(parts, { name: "w", inputForm: "f32", layout });
    ops.beginStep(plainBatch(Array.from({ length: packed.rows }, (_, i) => i)));
    const values = new Float32Array(packed.rows * packed.cols);
    ops.read(ops.embed(packed), values);
    ops.endStep();
    return { form: packed.weightForm, bits: new Uint32Array(values.buffer) };
  } finally {
    ops.close();
  }
}

const names = Object.keys(types) as (keyof typeof types)[];

describe.each(nativeStatus().isas)("blocks of a GGUF file on %s", (isa) => {
  test.each(names)("%s is packed as its codes, scales and minimums are, rows in pairs too", (type) => {
    for (const [rows, headDim] of [
      [1, 0],
      [17, 0],
      [48, 16],
    ] as const) {
      const weight = fileWeight(type, rows, types[type].cols, headDim, rows + 1);
      expect(pack(isa, [weight], "rows"), `${rows} rows`).toEqual(pack(isa, [withoutBlocks(weight)], "rows"));
    }
  });

  test("stacks of any types are, in rows and in pairs", () => {
    const part = fc.record({ type: fc.constantFrom(...names), seed: fc.nat(1 << 20), isFile: fc.boolean() });
    fc.assert(
      fc.property(fc.tuple(part, part), fc.boolean(), (parts, isPaired) => {
        const layout = isPaired ? "paired" : "rows";
        const plain = parts.map(({ type, seed }) => fileWeight(type, 20, 512, 0, seed));
        const mixed = plain.map((weight, index) => (parts[index]!.isFile ? weight : withoutBlocks(weight)));
        expect(pack(isa, mixed, layout)).toEqual(pack(isa, plain.map(withoutBlocks), layout));
      }),
      { numRuns: 60 },
    );
  });
});

test("blocks of one type reach the kernels without being read", () => {
  const weights = [1, 2].map((seed) => fileWeight("Q4_1", 16, 96, 0, seed));
  const unified = unifyWeights(weights, "qkv_proj");
  expect(unified).toEqual(weights);
  expect(unified[0]).toBe(weights[0]);
});
