import { afterAll, describe, expect, test } from "vitest";
import { f32ToBf16 } from "../../base/half.ts";
import type { IntegerWeight } from "../../base/weights.ts";
import { loadAddon } from "../addon.ts";
import type { LinearWeight, Ops, Tensor, TensorForm } from "../ops.ts";
import { createReferenceOps } from "../reference/reference-ops.ts";
import { createNativeOps } from "./native-ops.ts";
import { f32Weight, plainBatch, randomFloats, relativeError, runOnRows } from "./test-batches.ts";

const { addon } = loadAddon();
const isas = addon?.listIsas() ?? [];
const widths = [32, 576, 896, 960, 1536];
const rowCounts = [0, 1, 3, 17, 64];

/** Largest differences from the reference backend, as a share of the largest magnitude of a result. */
const maxErrors = {
  f32: 2e-6,
  // One unit in the last place of the narrow form: sums in another order may fall on the other side of a half.
  bf16: 2 ** -8,
  int8: 1 / 120,
} as const;

const errorOf: Record<TensorForm, number> = {
  f32: maxErrors.f32,
  bf16: maxErrors.bf16,
  "int8-token": maxErrors.int8,
  "int8-block32": maxErrors.int8,
};

describe.skipIf(addon === undefined).each(isas)(
  "native kernels on %s against the reference backend",
  (isa) => {
    const native = createNativeOps(addon!, { isa, numThreads: 2 });
    const reference = createReferenceOps({ numThreads: 1 });
    afterAll(() => {
      native.close();
      reference.close();
    });

    /** The same work on both backends. */
    function compare(rows: Float32Array, cols: number, body: (ops: Ops, x: Tensor) => Tensor): number {
      const expected = runOnRows(reference, rows, cols, (x) => body(reference, x));
      const actual = runOnRows(native, rows, cols, (x) => body(native, x));
      return relativeError(actual, expected);
    }

    test.each(widths)("norms of width %i agree in every form and row count", (cols) => {
      const factors = randomFloats(cols, 5);
      const identity = new Float32Array(cols * 16);
      for (let i = 0; i < 16; i += 1) identity[i * cols + i * Math.floor(cols / 16)] = 1;
      for (const form of ["f32", "bf16", "int8-token", "int8-block32"] as const) {
        for (const count of rowCounts) {
          const rows = randomFloats(count * cols, count + 1, 3);
          const error = compare(rows, cols, (ops, x) => {
            const y = ops.rmsNorm(x, ops.loadVector(factors), 1e-5, form);
            // Narrow forms are read through a linear that picks sixteen of the columns.
            return form === "f32" ? y : ops.linear(y, packPicker(ops, cols, form));
          });
          expect(error, `${form}, ${count} rows`).toBeLessThanOrEqual(errorOf[form]);
        }
      }
    });

    test("sums, row gathering and embedding agree exactly", () => {
      const rows = randomFloats(17 * 96, 3);
      const error = compare(rows, 96, (ops, x) => {
        const picked = ops.gatherRows(x, Int32Array.of(16, 0, 5, 5), 4);
        ops.addInto(picked, ops.gatherRows(x, Int32Array.of(1, 2, 3, 4), 4));
        return picked;
      });
      expect(error).toBe(0);
    });

    test("a linear with bias and residual agrees", () => {
      const [cols, outs] = [96, 64];
      const rows = randomFloats(5 * cols, 9);
      const error = compare(rows, cols, (ops, x) => {
        const pack = (values: Float32Array) =>
          ops.packLinear([f32Weight(values, outs, cols)], { name: "w", inputForm: "f32" });
        const residual = ops.linear(x, pack(randomFloats(outs * cols, 1)));
        const bias = ops.loadVector(randomFloats(outs, 3));
        return ops.linear(x, pack(randomFloats(outs * cols, 2)), { bias, residual });
      });
      expect(error).toBeLessThanOrEqual(maxErrors.f32);
    });

    test.each(["silu-mul", "gelu-mul"] as const)(
      "%s of paired parts agrees, and is the same to the bit one after the other",
      (activation) => {
        const [cols, outs] = [64, 48];
        const rows = randomFloats(7 * cols, 9, 2);
        const run = (isFused: boolean) => (ops: Ops, x: Tensor) => {
          const pack = (seed: number) => f32Weight(randomFloats(outs * cols, seed), outs, cols);
          const options = { name: "gate and up", inputForm: "f32", layout: "paired" } as const;
          const weight = ops.packLinear([pack(1), pack(2)], options);
          const bias = ops.loadVector(randomFloats(2 * outs, 6));
          if (isFused) return ops.linear(x, weight, { activation, bias });
          return ops.gate(ops.linear(x, weight, { bias }), activation);
        };
        expect(compare(rows, cols, run(true))).toBeLessThanOrEqual(maxErrors.f32);
        expect(runOnRows(native, rows, cols, (x) => run(false)(native, x))).toEqual(
          runOnRows(native, rows, cols, (x) => run(true)(native, x)),
        );
      },
    );

    test.each(["f32", "bf16", "int8-token", "int8-block32"] as const)(
      "a tensor in %s is read back as f32 to the same bits",
      (form) => {
        const rows = randomFloats(5 * 96, 4, 3);
        const error = compare(rows, 96, (ops, x) => ops.convert(ops.convert(x, form), "f32"));
        expect(error).toBe(0);
        const own = runOnRows(native, rows, 96, (x) => native.convert(native.convert(x, form), "f32"));
        expect(relativeError(own, rows)).toBeLessThan(1 / 200);
      },
    );

    test("a weight that was given back takes no memory and cannot be used", () => {
      const pack = () =>
        native.packLinear([f32Weight(randomFloats(64 * 64, 1), 64, 64)], { name: "w", inputForm: "f32" });
      const kept = pack();
      const before = native.memory().weights;
      const weight = pack();
      expect(native.memory().weights).toBe(before + weight.sizeBytes);
      native.freeLinear(weight);
      expect(native.memory().weights).toBe(before);
      const run = (used: LinearWeight) =>
        runOnRows(native, randomFloats(64, 2), 64, (x) => native.linear(x, used));
      expect(run(kept).every(Number.isFinite)).toBe(true);
      expect(() => run(weight)).toThrow("belongs to another backend");
      native.endStep();
    });

    test("released tensors give their memory back and older ones keep their values", () => {
      const values = randomFloats(512 * 512, 1);
      const table = native.packLinear([f32Weight(values, 512, 512)], { name: "t", inputForm: "f32" });
      const ids = Array.from({ length: 512 }, (_, i) => i);
      for (const ops of [native, reference]) {
        const own =
          ops === native
            ? table
            : ops.packLinear([f32Weight(values, 512, 512)], { name: "t", inputForm: "f32" });
        ops.beginStep(plainBatch(ids));
        const x = ops.embed(own);
        for (let layer = 0; layer < 40; layer += 1) {
          ops.convert(ops.convert(x, "f32"), "bf16");
          ops.releaseAfter(x);
        }
        expect(ops.memory().arena).toBeLessThan(20 * values.byteLength);
        const out = new Float32Array(values.length);
        ops.read(x, out);
        expect(out).toEqual(values);
        ops.endStep();
      }
    });

    test("a tensor of an earlier step is refused", () => {
      const table = native.packLinear([f32Weight(randomFloats(64, 1), 2, 32)], {
        name: "t",
        inputForm: "f32",
      });
      native.beginStep(plainBatch([0, 1]));
      const x = native.embed(table);
      native.beginStep(plainBatch([]));
      expect(() => native.convert(x, "bf16")).toThrow(/older than this step/);
      native.endStep();
    });
  },
);

/** A weight [16, cols] of ones that picks sixteen columns, evenly spread, exactly. */
function packPicker(ops: Ops, cols: number, inputForm: TensorForm): LinearWeight {
  const at = (row: number): number => row * cols + row * Math.floor(cols / 16);
  if (inputForm === "bf16") {
    const ones = new Uint16Array(16 * cols);
    for (let row = 0; row < 16; row += 1) ones[at(row)] = f32ToBf16(1);
    const data = new Uint8Array(ones.buffer);
    return ops.packLinear([{ kind: "dense", dtype: "bf16", rows: 16, cols, data }], {
      name: "picker",
      inputForm,
    });
  }
  const codes = new Uint8Array(16 * cols);
  for (let row = 0; row < 16; row += 1) codes[at(row)] = 1;
  const weight: IntegerWeight = {
    kind: "integer",
    rows: 16,
    cols,
    bits: 8,
    groupSize: 32,
    codes,
    scales: new Float32Array((16 * cols) / 32).fill(1),
    minimums: null,
    activations: "unspecified",
  };
  return ops.packLinear([weight], { name: "picker", inputForm });
}
