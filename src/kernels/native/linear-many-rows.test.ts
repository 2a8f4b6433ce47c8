import { describe, expect, test } from "vitest";
import { f32ToBf16, f32ToF16 } from "../../base/half.ts";
import type { OrderedWeight } from "../../base/weights.ts";
import { loadAddon } from "../addon.ts";
import type { Ops, TensorForm } from "../ops.ts";
import { createNativeOps } from "./native-ops.ts";
import { randomFloats, runOnRows } from "./test-batches.ts";
import { allIsas, testedIsas } from "./tested-isas.ts";

// More rows than kernels take at once, however they cut them: for a cache, for threads, for a register.

const { addon } = loadAddon();
const numRows = 1100;
const rowsOfWeight = 49;
/** Whole tiles, and more results than stay in a near cache: they are stored past it. */
const rowsOfLargeWeight = 272;

function integerWeight(
  bits: 4 | 8,
  groupSize: number,
  cols: number,
  hasMinimums: boolean,
  rows = rowsOfWeight,
): OrderedWeight {
  const codes = Uint8Array.from({ length: (rows * cols * bits) / 8 }, (_, i) => (i * 73 + 5) & 255);
  const scales = randomFloats((rows * cols) / groupSize, 3, 0.01);
  const minimums = hasMinimums ? randomFloats(scales.length, 4, 0.01) : null;
  return {
    kind: "integer",
    rows,
    cols,
    bits,
    groupSize,
    codes,
    scales,
    minimums,
    activations: "unspecified",
  };
}

function denseWeight(dtype: "f32" | "f16", cols: number, rows = rowsOfWeight): OrderedWeight {
  const values = randomFloats(rows * cols, 7, 0.1);
  const data = dtype === "f32" ? values : Uint16Array.from(values, f32ToF16);
  return { kind: "dense", rows, cols, dtype, data: new Uint8Array(data.buffer) };
}

function bf16Weight(cols: number): OrderedWeight {
  const halves = Uint16Array.from(randomFloats(rowsOfWeight * cols, 5, 0.1), f32ToBf16);
  return { kind: "dense", rows: rowsOfWeight, cols, dtype: "bf16", data: new Uint8Array(halves.buffer) };
}

interface Case {
  readonly name: string;
  readonly form: TensorForm;
  readonly weight: OrderedWeight;
}

const cases: readonly Case[] = [
  { name: "int8 channel", form: "int8-token", weight: integerWeight(8, 1632, 1632, false) },
  { name: "int8 channel + min", form: "int8-token", weight: integerWeight(8, 96, 96, true) },
  { name: "int4 channel", form: "int8-token", weight: integerWeight(4, 1056, 1056, false) },
  { name: "int8 g128", form: "int8-token", weight: integerWeight(8, 128, 640, false) },
  { name: "int4 g32", form: "int8-block32", weight: integerWeight(4, 32, 224, false) },
  { name: "bf16", form: "bf16", weight: bf16Weight(1001) },
  { name: "bf16, long", form: "bf16", weight: bf16Weight(4099) },
  { name: "bf16, f32", form: "f32", weight: bf16Weight(1001) },
  { name: "f32, f32", form: "f32", weight: denseWeight("f32", 513) },
  { name: "f16, f32", form: "f32", weight: denseWeight("f16", 259) },
  { name: "int8 channel, f32", form: "f32", weight: integerWeight(8, 515, 515, false) },
  {
    name: "int8 channel, large",
    form: "int8-token",
    weight: integerWeight(8, 160, 160, false, rowsOfLargeWeight),
  },
  {
    name: "int4 g32, large",
    form: "int8-block32",
    weight: integerWeight(4, 32, 96, false, rowsOfLargeWeight),
  },
  { name: "f32, f32, large", form: "f32", weight: denseWeight("f32", 65, rowsOfLargeWeight) },
  { name: "int4 g48 + min, f32", form: "f32", weight: integerWeight(4, 48, 528, true) },
];

const bitsOf = (values: Float32Array): Buffer =>
  Buffer.from(values.buffer, values.byteOffset, values.byteLength);

/** Rows [first, first + count) of x times the weight; x is the same for all calls of a case. */
function multiply(isa: string, numThreads: number, { form, weight }: Case): Map<string, Float32Array> {
  const ops: Ops = createNativeOps(addon!, { isa, numThreads });
  try {
    const packed = ops.packLinear([weight], { name: "w", inputForm: form });
    const x = randomFloats(numRows * weight.cols, 6, 2);
    const ranges = [
      [0, numRows],
      ...[0, 17, 511, 512, 733, numRows - 1].map((row) => [row, row + 1]),
    ] as const;
    return new Map(
      ranges.map(([first, end]) => {
        const rows = x.slice(first! * weight.cols, end! * weight.cols);
        return [
          `${first} to ${end}`,
          runOnRows(ops, rows, weight.cols, (t) => ops.linear(ops.convert(t, form), packed)),
        ];
      }),
    );
  } finally {
    ops.close();
  }
}

for (const isa of new Set([...allIsas, ...testedIsas])) {
  describe.skipIf(!testedIsas.includes(isa))(`rows of a long linear on ${isa}`, () => {
    test.each(cases)("$name: a row alone has the bits that it has among many", (c) => {
      for (const numThreads of [1, 3]) {
        const results = multiply(isa, numThreads, c);
        const all = results.get(`0 to ${numRows}`)!;
        for (const [range, some] of results) {
          const first = Number.parseInt(range, 10) * c.weight.rows;
          const same = bitsOf(some).equals(bitsOf(all.subarray(first, first + some.length)));
          expect(same, `${range}, ${numThreads} threads`).toBe(true);
        }
      }
    });
  });
}

test.skipIf(testedIsas.length === 0).each(cases.filter((c) => c.form !== "bf16"))(
  "$name gives the same bits for many rows on every instruction set",
  (c) => {
    const [first, ...others] = testedIsas.map((isa) => multiply(isa, 2, c).get(`0 to ${numRows}`)!);
    for (const other of others) expect(bitsOf(other).equals(bitsOf(first!))).toBe(true);
  },
);
