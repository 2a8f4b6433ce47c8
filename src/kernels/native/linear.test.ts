import { describe, expect, it } from "vitest";
import { f32ToBf16, f32ToF16 } from "../../base/half.ts";
import type { FloatDtype, OrderedWeight } from "../../base/weights.ts";
import { loadAddon } from "../addon.ts";
import type { Ops, RaggedBatch, TensorForm } from "../ops.ts";
import { createReferenceOps } from "../reference/reference-ops.ts";
import { createNativeOps } from "./native-ops.ts";
import { allIsas, testedIsas } from "./tested-isas.ts";

const { addon } = loadAddon();

/** Largest error against the reference backend, as a share of Σ |x·w| of the output. */
const maxErrors: Record<TensorForm, number> = {
  f32: 2e-6,
  bf16: 2e-6,
  "int8-token": 1e-6,
  "int8-block32": 1e-6,
};

function randomNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

function randomFloats(count: number, seed: number, size: number): Float32Array {
  const next = randomNumbers(seed);
  return Float32Array.from({ length: count }, () => (next() * 2 - 1) * size);
}

function denseWeight(dtype: FloatDtype, rows: number, cols: number): OrderedWeight {
  const values = randomFloats(rows * cols, rows + cols, 0.1);
  const elements =
    dtype === "f32" ? values : Uint16Array.from(values, dtype === "bf16" ? f32ToBf16 : f32ToF16);
  // One byte into its buffer, as a view of a mapped file may be.
  const bytes = new Uint8Array(elements.byteLength + 1);
  bytes.set(new Uint8Array(elements.buffer), 1);
  return { kind: "dense", rows, cols, dtype, data: bytes.subarray(1) };
}

interface IntegerShape {
  readonly bits: 8 | 4;
  /** 0 for one scale per row. */
  readonly group: number;
  readonly hasMinimums: boolean;
  readonly scales: FloatDtype;
}

function roundTo(dtype: FloatDtype, values: Float32Array): Float32Array {
  // Multiples of 2^-17 below 2^-6 are exact in f16, multiples of 2^-13 with 7 bits in bf16.
  if (dtype === "f16") return values.map((v) => Math.round(v * 2 ** 17) / 2 ** 17);
  if (dtype === "bf16") return values.map((v) => Math.round(v * 2 ** 13) / 2 ** 13);
  return values;
}

function integerWeight(shape: IntegerShape, rows: number, cols: number): OrderedWeight {
  const { bits, hasMinimums } = shape;
  const groupSize = shape.group === 0 ? cols : shape.group;
  const next = randomNumbers(rows * 31 + cols);
  const codes = Uint8Array.from({ length: (rows * cols * bits) / 8 }, () => Math.floor(next() * 256));
  // The lowest code and both nibbles' extremes are always there.
  codes.set([0x80, 0x7f, 0x0f, 0xf0].slice(0, codes.length));
  const numScales = (rows * cols) / groupSize;
  const scales = roundTo(shape.scales, randomFloats(numScales, cols, 2 ** -7));
  const minimums = hasMinimums ? roundTo(shape.scales, randomFloats(numScales, rows, 2 ** -7)) : null;
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

const integerShapes: IntegerShape[] = ([8, 4] as const).flatMap((bits) =>
  [0, 16, 32, 64, 128].flatMap((group, i) =>
    [false, true].map((hasMinimums) => ({
      bits,
      group,
      hasMinimums,
      scales: (["f32", "f16", "bf16"] as const)[(i + (hasMinimums ? 1 : 0)) % 3]!,
    })),
  ),
);

interface Case {
  readonly name: string;
  readonly form: TensorForm;
  readonly make: (rows: number, cols: number) => OrderedWeight;
  readonly group: number;
}

const cases: Case[] = [
  ...(["f32", "f16", "bf16"] as const).flatMap((dtype) =>
    (["f32", "bf16"] as const).map((form) => ({
      name: `${dtype} weights, ${form} activations`,
      form,
      make: (rows: number, cols: number) => denseWeight(dtype, rows, cols),
      group: 1,
    })),
  ),
  ...integerShapes.flatMap((shape) =>
    (["f32", "int8-token", "int8-block32"] as const).map((form) => ({
      name:
        `int${shape.bits} ${shape.group === 0 ? "channel" : `g${shape.group}`}` +
        `${shape.hasMinimums ? " + min" : ""} weights, ${form} activations`,
      form,
      make: (rows: number, cols: number) => integerWeight(shape, rows, cols),
      group: shape.group === 0 ? 1 : shape.group,
    })),
  ),
];

/** [N, K]: every K and every N at least once. */
const shapes: readonly (readonly [number, number])[] = [
  [1, 32],
  [15, 96],
  [16, 576],
  [17, 896],
  [100, 960],
  [17, 1536],
  [960, 576],
];

const maxRows = 64;

function batchOf(numTokens: number): RaggedBatch {
  return {
    numTokens,
    numSeqs: 1,
    tokenIds: Int32Array.from({ length: numTokens }, (_, i) => i),
    positions: Int32Array.from({ length: numTokens }, (_, i) => i),
    slots: Int32Array.from({ length: numTokens }, (_, i) => i),
    queryStarts: Int32Array.of(0, numTokens),
    contextLengths: Int32Array.of(numTokens),
    blockTables: new Int32Array(4),
    blockTableStride: 4,
  };
}

function floatWeight(rows: number, cols: number, values: Float32Array): OrderedWeight {
  return { kind: "dense", rows, cols, dtype: "f32", data: new Uint8Array(values.buffer) };
}

interface Run {
  readonly weight: OrderedWeight;
  readonly form: TensorForm;
  /** [maxRows, cols] */
  readonly input: Float32Array;
}

/** Packs once; the result gives x·Wᵀ of the first `numRows` rows of the input. */
function prepare(ops: Ops, { weight, form, input }: Run): (numRows: number) => Float32Array {
  const table = ops.packLinear([floatWeight(maxRows, weight.cols, input)], { name: "x", inputForm: "f32" });
  const packed = ops.packLinear([weight], { name: "w", inputForm: form });
  return (numRows) => {
    ops.beginStep(batchOf(numRows));
    const y = ops.linear(ops.convert(ops.embed(table), form), packed);
    const out = new Float32Array(numRows * weight.rows);
    ops.read(y, out);
    ops.endStep();
    return out;
  };
}

function multiplyRows(ops: Ops, run: Run, numRows: number): Float32Array {
  return prepare(ops, run)(numRows);
}

/** The matrix as f32, through `embed`. */
function expand(ops: Ops, weight: OrderedWeight): Float32Array {
  const table = ops.packLinear([weight], { name: "table", inputForm: "f32" });
  ops.beginStep(batchOf(weight.rows));
  const out = new Float32Array(weight.rows * weight.cols);
  ops.read(ops.embed(table), out);
  ops.endStep();
  return out;
}

function magnitude(input: Float32Array, row: number, weights: Float32Array, n: number, cols: number): number {
  let sum = 0;
  for (let k = 0; k < cols; k += 1) sum += Math.abs(input[row * cols + k]! * weights[n * cols + k]!);
  return sum;
}

function withOps<T>(isa: string, numThreads: number, body: (ops: Ops) => T): T {
  const ops =
    isa === "reference" ? createReferenceOps({ numThreads }) : createNativeOps(addon!, { isa, numThreads });
  try {
    return body(ops);
  } finally {
    ops.close();
  }
}

const shapesOf = (c: Case): (readonly [number, number])[] =>
  shapes.filter(([, cols]) => cols % c.group === 0);
const inputOf = (cols: number): Float32Array => randomFloats(maxRows * cols, cols, 2);
const bytesOf = (values: Float32Array): Buffer => Buffer.from(values.buffer, 0, values.byteLength);

describe.skipIf(addon === undefined)("native linear [needs the native kernels]", () => {
  for (const isa of new Set([...allIsas, ...testedIsas])) {
    const onIsa = it.skipIf(!testedIsas.includes(isa));
    onIsa.each(cases)(`${isa}: $name agree with the reference backend`, (c) => {
      for (const [rows, cols] of shapesOf(c)) {
        const run = { weight: c.make(rows, cols), form: c.form, input: inputOf(cols) };
        const numRows = 3;
        const actual = withOps(isa, 1, (ops) => multiplyRows(ops, run, numRows));
        const expected = withOps("reference", 1, (ops) => multiplyRows(ops, run, numRows));
        const weights = withOps("reference", 1, (ops) => expand(ops, run.weight));
        let worst = 0;
        for (let i = 0; i < actual.length; i += 1) {
          const size = magnitude(run.input, Math.floor(i / rows), weights, i % rows, cols);
          worst = Math.max(worst, Math.abs(actual[i]! - expected[i]!) / size);
        }
        expect(worst, `N ${rows}, K ${cols}`).toBeLessThanOrEqual(maxErrors[c.form]);
      }
    });

    onIsa.each(cases)(`${isa}: $name give the same bits for every number of rows and threads`, (c) => {
      for (const [rows, cols] of shapesOf(c)) {
        const run = { weight: c.make(rows, cols), form: c.form, input: inputOf(cols) };
        const all = withOps(isa, 1, (ops) => multiplyRows(ops, run, maxRows));
        for (const numThreads of [1, 3]) {
          withOps(isa, numThreads, (ops) => {
            const multiply = prepare(ops, run);
            for (const numRows of [0, 1, 3, 5, 7, 17, maxRows]) {
              const some = multiply(numRows);
              const same = bytesOf(some).equals(bytesOf(all.subarray(0, some.length)));
              expect(same, `N ${rows}, K ${cols}, ${numRows} rows, ${numThreads} threads`).toBe(true);
            }
          });
        }
      }
    });
  }

  it.each(cases.filter((c) => c.form.startsWith("int8")))(
    "$name give the same bits on every instruction set",
    (c) => {
      for (const [rows, cols] of shapesOf(c)) {
        const run = { weight: c.make(rows, cols), form: c.form, input: inputOf(cols) };
        const [first, ...others] = testedIsas.map((isa) =>
          withOps(isa, 1, (ops) => multiplyRows(ops, run, maxRows)),
        );
        for (const other of others) expect(bytesOf(other).equals(bytesOf(first!))).toBe(true);
      }
    },
  );

  it.each(cases.filter((c) => c.form === "f32"))("$name: embed gives the exact weights", (c) => {
    for (const [rows, cols] of shapesOf(c)) {
      const weight = c.make(rows, cols);
      const expected = withOps("reference", 1, (ops) => expand(ops, weight));
      for (const isa of testedIsas) {
        const actual = withOps(isa, 2, (ops) => expand(ops, weight));
        // By value: a zero may carry either sign.
        const different = actual.findIndex((value, i) => value !== expected[i]);
        expect(different, `${isa}, N ${rows}, K ${cols}`).toBe(-1);
      }
    }
  });

  it.each(testedIsas)("%s: bias comes before the residual, each rounded once", (isa) => {
    const [rows, cols, numRows] = [100, 96, 17];
    const run: Run = { weight: denseWeight("bf16", rows, cols), form: "f32", input: inputOf(cols) };
    const plain = withOps(isa, 2, (ops) => multiplyRows(ops, run, numRows));
    const bias = randomFloats(rows, 5, 3);
    const residual = randomFloats(numRows * rows, 6, 3);
    const actual = withOps(isa, 2, (ops) => {
      const table = ops.packLinear([floatWeight(maxRows, cols, run.input)], { name: "x", inputForm: "f32" });
      const added = ops.packLinear([floatWeight(numRows, rows, residual)], { name: "r", inputForm: "f32" });
      const weight = ops.packLinear([run.weight], { name: "w", inputForm: "f32" });
      const vector = ops.loadVector(bias);
      ops.beginStep(batchOf(numRows));
      const y = ops.linear(ops.embed(table), weight, { bias: vector, residual: ops.embed(added) });
      const out = new Float32Array(numRows * rows);
      ops.read(y, out);
      ops.endStep();
      return out;
    });
    const expected = plain.map((y, i) => Math.fround(Math.fround(y + bias[i % rows]!) + residual[i]!));
    expect([...actual]).toEqual([...expected]);
  });

  it.each(testedIsas)("%s: paired weights give silu(first) · second", (isa) => {
    for (const half of [1, 16, 50, 96]) {
      const cols = 64;
      const numRows = 9;
      const parts = [
        integerWeight({ bits: 4, group: 32, hasMinimums: false, scales: "f16" }, half, cols),
        integerWeight({ bits: 4, group: 32, hasMinimums: false, scales: "f16" }, half, cols),
      ];
      const input = inputOf(cols);
      const [first, second] = parts.map((weight) =>
        withOps(isa, 1, (ops) => multiplyRows(ops, { weight, form: "int8-block32", input }, numRows)),
      );
      const actual = withOps(isa, 2, (ops) => {
        const table = ops.packLinear([floatWeight(maxRows, cols, input)], { name: "x", inputForm: "f32" });
        const weight = ops.packLinear(parts, { name: "w", inputForm: "int8-block32", layout: "paired" });
        ops.beginStep(batchOf(numRows));
        const x = ops.convert(ops.embed(table), "int8-block32");
        const y = ops.linear(x, weight, { activation: "silu-mul" });
        const out = new Float32Array(numRows * half);
        ops.read(y, out);
        ops.endStep();
        return out;
      });
      for (let i = 0; i < actual.length; i += 1) {
        const expected = (first![i]! / (1 + Math.exp(-first![i]!))) * second![i]!;
        expect(Math.abs(actual[i]! - expected)).toBeLessThanOrEqual(1e-6 * Math.abs(expected) + 1e-30);
      }
    }
  });

  it.each(testedIsas)("%s: a result in another form is the converted f32 result", (isa) => {
    const cols = 64;
    for (const half of [32, 50, 96, 160]) {
      for (const form of ["int8-block32", "int8-token"] as const) {
        if (form === "int8-block32" && half % 32 !== 0) continue;
        const shape = { bits: 4, group: 32, hasMinimums: true, scales: "f16" } as const;
        const parts = [integerWeight(shape, half, cols), integerWeight(shape, half, cols)];
        const next = integerWeight({ bits: 8, group: 0, hasMinimums: false, scales: "f32" }, 17, half);
        const run = (numRows: number, isFused: boolean): Float32Array =>
          withOps(isa, 2, (ops) => {
            const input = floatWeight(maxRows, cols, inputOf(cols));
            const table = ops.packLinear([input], { name: "x", inputForm: "f32" });
            const gateUp = ops.packLinear(parts, { name: "w", inputForm: "int8-block32", layout: "paired" });
            const down = ops.packLinear([next], { name: "d", inputForm: form });
            ops.beginStep(batchOf(numRows));
            const x = ops.convert(ops.embed(table), "int8-block32");
            const y = isFused
              ? ops.linear(x, gateUp, { activation: "silu-mul", as: form })
              : ops.convert(ops.linear(x, gateUp, { activation: "silu-mul" }), form);
            const out = new Float32Array(numRows * 17);
            ops.read(ops.linear(y, down), out);
            ops.endStep();
            return out;
          });
        for (const numRows of [1, 5, 17]) {
          const label = `${half} columns as ${form}, ${numRows} rows`;
          expect(bytesOf(run(numRows, true)).equals(bytesOf(run(numRows, false))), label).toBe(true);
        }
      }
    }
  });

  it.each(testedIsas)("%s: the largest codes of one sign do not overflow a sum", (isa) => {
    const [rows, cols] = [17, 128];
    for (const bits of [4, 8] as const) {
      // 8 bits: 0x80 is -128 and 0x7f is 127; 4 bits: 0x00 is 0 or -8 and 0xff is 15 or 7.
      for (const byte of bits === 8 ? [0x80, 0x7f] : [0x00, 0xff]) {
        for (const hasMinimums of [false, true]) {
          for (const form of ["int8-token", "int8-block32"] as const) {
            const shape = { bits, group: 32, hasMinimums, scales: "f16" } as const;
            const weight = {
              ...integerWeight(shape, rows, cols),
              codes: new Uint8Array((rows * cols * bits) / 8).fill(byte),
            };
            const input = new Float32Array(maxRows * cols).map((_, i) => (i < cols ? 1 : -1));
            const run = { weight: weight as OrderedWeight, form, input };
            const label = `int${bits} ${byte}, ${form}, minimums ${hasMinimums}`;
            for (const numRows of [2, 8]) {
              const actual = withOps(isa, 1, (ops) => multiplyRows(ops, run, numRows));
              const expected = withOps("reference", 1, (ops) => multiplyRows(ops, run, numRows));
              actual.forEach((y, i) => {
                expect(Math.abs(y - expected[i]!), label).toBeLessThanOrEqual(
                  1e-5 * Math.abs(expected[i]!) + 1e-4,
                );
              });
            }
          }
        }
      }
    }
  });

  it.each(testedIsas)("%s: names both forms when there is no kernel for them", (isa) => {
    withOps(isa, 1, (ops) => {
      const pack = (weight: OrderedWeight, inputForm: TensorForm) => () =>
        ops.packLinear([weight], { name: "w", inputForm });
      expect(pack(denseWeight("bf16", 4, 32), "int8-token")).toThrow(/bf16 .*int8-token/);
      const int4 = integerWeight({ bits: 4, group: 32, hasMinimums: true, scales: "f32" }, 4, 64);
      expect(pack(int4, "bf16")).toThrow(/int4 g32 \+ min .*bf16/);
    });
  });
});
