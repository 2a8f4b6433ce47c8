import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { IntegerWeight, OrderedWeight } from "../../base/weights.ts";
import type { LinearEpilogue, Ops, RaggedBatch, Tensor, TensorForm } from "../ops.ts";
import type { ScoreOutput } from "../sampling.ts";
import { writeRow } from "./activation-forms.ts";
import { createReferenceOps } from "./reference-ops.ts";
import { TensorArena } from "./tensor-arena.ts";

/** Values in (−1, 1) that repeat from run to run. */
function noise(length: number, seed: number): Float32Array {
  let state = seed * 2654435761 + 1;
  return Float32Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

function denseF32(values: Float32Array, rows: number): OrderedWeight {
  return {
    kind: "dense",
    rows,
    cols: values.length / rows,
    dtype: "f32",
    data: new Uint8Array(values.buffer),
  };
}

interface IntegerShape {
  readonly rows: number;
  readonly cols: number;
  readonly bits: 4 | 8;
  readonly groupSize: number;
  readonly hasMinimums: boolean;
}

function integerWeight(
  { rows, cols, bits, groupSize, hasMinimums }: IntegerShape,
  seed: number,
): IntegerWeight {
  const numGroups = (rows * cols) / groupSize;
  return {
    kind: "integer",
    rows,
    cols,
    bits,
    groupSize,
    codes: Uint8Array.from(noise((rows * cols * bits) / 8, seed), (x) => (x + 1) * 127.9),
    scales: noise(numGroups, seed + 1).map((x) => 0.01 + Math.abs(x) / 50),
    minimums: hasMinimums ? noise(numGroups, seed + 2) : null,
    activations: "unspecified",
  };
}

/** Element of an integer weight straight from the definition of the form. */
function element(weight: IntegerWeight, row: number, column: number): number {
  const index = row * weight.cols + column;
  const group = Math.floor(index / weight.groupSize);
  const minimum = weight.minimums?.[group] ?? 0;
  const byte = weight.codes[weight.bits === 8 ? index : index >> 1]!;
  if (weight.bits === 8) return weight.scales[group]! * (byte > 127 ? byte - 256 : byte) + minimum;
  const code = index % 2 === 0 ? byte % 16 : Math.floor(byte / 16);
  return weight.scales[group]! * (weight.minimums === null ? code - 8 : code) + minimum;
}

function batchOf(numTokens: number, rest: Partial<RaggedBatch> = {}): RaggedBatch {
  const positions = Int32Array.from({ length: numTokens }, (_, i) => i);
  return {
    numTokens,
    numSeqs: 1,
    tokenIds: positions,
    positions,
    slots: positions,
    queryStarts: Int32Array.of(0, numTokens),
    contextLengths: Int32Array.of(numTokens),
    blockTables: Int32Array.of(0),
    blockTableStride: 1,
    ...rest,
  };
}

let ops: Ops;
beforeEach(() => {
  ops = createReferenceOps({ numThreads: 1 });
});
afterEach(() => ops.close());

/** An f32 tensor with these values, in a step of as many tokens. */
function tensorOf(values: Float32Array, rows: number): Tensor {
  const table = ops.packLinear([denseF32(values, rows)], { name: "values", inputForm: "f32" });
  return ops.embed(table);
}

function valuesOf(x: Tensor): Float32Array {
  const values = new Float32Array(x.rows * x.cols);
  ops.read(x, values);
  return values;
}

describe("int8 activations", () => {
  test("round half to even and hold the largest value at 127", () => {
    const out = new TensorArena().create(1, 6, "int8-token");
    writeRow(Float32Array.of(127, -127, 0.5, 1.5, -2.5, 3.4999998), out, 0);
    expect([...out.codes]).toEqual([127, -127, 0, 2, -2, 3]);
    expect(out.scales[0]).toBe(1);
  });

  test("give scale 0 and codes 0 for zeros, also block by block", () => {
    const out = new TensorArena().create(1, 64, "int8-block32");
    writeRow(
      Float32Array.from({ length: 64 }, (_, i) => (i < 32 ? 0 : 2)),
      out,
      0,
    );
    expect([...out.scales]).toEqual([0, Math.fround(2 / 127)]);
    expect(out.codes.subarray(0, 32).every((code) => code === 0)).toBe(true);
    expect(out.codes.subarray(32).every((code) => code === 127)).toBe(true);
  });

  test("lie within half a scale of every finite input", () => {
    const value = fc.float({ noNaN: true, noDefaultInfinity: true, max: 2 ** 100, min: -(2 ** 100) });
    fc.assert(
      fc.property(fc.array(value, { minLength: 32, maxLength: 32 }), (list) => {
        const out = new TensorArena().create(1, 32, "int8-block32");
        writeRow(Float32Array.from(list), out, 0);
        const scale = out.scales[0]!;
        // Below this the scale itself is a subnormal with few bits.
        if (scale < 1e-36) return;
        for (const [i, x] of list.entries()) {
          expect(Math.abs(out.codes[i]! * scale - x)).toBeLessThanOrEqual(scale * 0.50002);
        }
      }),
    );
  });
});

describe("linear", () => {
  const shapes: IntegerShape[] = [
    { rows: 5, cols: 96, bits: 8, groupSize: 96, hasMinimums: false },
    { rows: 5, cols: 96, bits: 8, groupSize: 16, hasMinimums: true },
    { rows: 7, cols: 64, bits: 4, groupSize: 32, hasMinimums: false },
    { rows: 3, cols: 128, bits: 4, groupSize: 64, hasMinimums: true },
    { rows: 3, cols: 96, bits: 4, groupSize: 48, hasMinimums: false },
  ];
  const forms: TensorForm[] = ["f32", "bf16", "int8-token", "int8-block32"];
  const cases = shapes.flatMap((shape) => forms.map((form) => ({ ...shape, form })));

  test.each(cases)("int$bits g$groupSize of $cols columns, minimums $hasMinimums, takes $form", (shape) => {
    const weight = integerWeight(shape, 11);
    const numTokens = 3;
    const packed = ops.packLinear([weight], { name: "w", inputForm: shape.form });
    ops.beginStep(batchOf(numTokens));
    const values = noise(numTokens * shape.cols, 5);
    const out = valuesOf(ops.linear(ops.convert(tensorOf(values, numTokens), shape.form), packed));
    const step = shape.form === "f32" ? 1e-6 : shape.form === "bf16" ? 2 ** -8 : 1 / 254;
    for (let token = 0; token < numTokens; token += 1) {
      for (let row = 0; row < shape.rows; row += 1) {
        let expected = 0;
        let bound = 1e-6;
        for (let k = 0; k < shape.cols; k += 1) {
          const w = element(weight, row, k);
          expected += values[token * shape.cols + k]! * w;
          bound += Math.abs(w) * step;
        }
        expect(Math.abs(out[token * shape.rows + row]! - expected)).toBeLessThan(bound);
      }
    }
  });

  test("adds bias, then the residual in place", () => {
    const weight = ops.packLinear([denseF32(Float32Array.of(1, 2, 3, 4), 2)], {
      name: "w",
      inputForm: "f32",
    });
    ops.beginStep(batchOf(1));
    const residual = tensorOf(Float32Array.of(100, 200), 1);
    const epilogue: LinearEpilogue = { bias: ops.loadVector(Float32Array.of(10, 20)), residual };
    const out = ops.linear(tensorOf(Float32Array.of(1, 1), 1), weight, epilogue);
    expect(out).toBe(residual);
    expect([...valuesOf(out)]).toEqual([100 + 3 + 10, 200 + 7 + 20]);
  });

  test("multiplies the two halves of a paired weight as silu(first) · second", () => {
    const parts = [denseF32(Float32Array.of(2, -3), 2), denseF32(Float32Array.of(5, 7), 2)];
    const weight = ops.packLinear(parts, { name: "gate_up", inputForm: "f32", layout: "paired" });
    ops.beginStep(batchOf(1));
    const bias = ops.loadVector(Float32Array.of(0, 0, 1, 0));
    const out = valuesOf(
      ops.linear(tensorOf(Float32Array.of(1), 1), weight, { activation: "silu-mul", bias }),
    );
    expect(out[0]).toBeCloseTo((2 / (1 + Math.exp(-2))) * 6, 5);
    expect(out[1]).toBeCloseTo((-3 / (1 + Math.exp(3))) * 7, 5);
  });

  // PyTorch 2.15 in f64: functional.gelu, gelu with approximate="tanh", layer_norm.
  const points = [-6, -3, -1.5, -0.75, -0.1, 0, 0.1, 0.75, 1.5, 3, 6];
  const geluOf = [
    -5.919525869479969e-9, -0.00404969409489031, -0.10021080190328704, -0.16997051428265111,
    -0.0460172162722971, 0, 0.053982783727702904, 0.5800294857173489, 1.399789198096713, 2.99595030590511,
    5.999999994080474,
  ];
  const geluTanhOf = [
    -8.43964897967453e-11, -0.0036373920817729943, -0.10042842301976707, -0.17003944483437966,
    -0.04601724895456484, 0, 0.053982751045435165, 0.5799605551656203, 1.3995715769802328, 2.996362607918227,
    5.9999999999156035,
  ];

  test("computes both forms of GELU as PyTorch does", () => {
    ops.beginStep(batchOf(1));
    const x = tensorOf(Float32Array.from(points), 1);
    ops.gelu(x);
    for (const [i, value] of valuesOf(x).entries()) expect(value).toBeCloseTo(geluOf[i]!, 6);
    const columns = denseF32(Float32Array.from(points), points.length);
    const ones = denseF32(new Float32Array(points.length).fill(1), points.length);
    const weight = ops.packLinear([columns, ones], { name: "w", inputForm: "f32", layout: "paired" });
    const gated = ops.linear(tensorOf(Float32Array.of(1), 1), weight, { activation: "gelu-mul" });
    for (const [i, value] of valuesOf(gated).entries()) expect(value).toBeCloseTo(geluTanhOf[i]!, 6);
  });

  test("norms over mean and variance as PyTorch does", () => {
    ops.beginStep(batchOf(1));
    const norm = {
      weight: ops.loadVector(Float32Array.of(1, 2, 3, 4)),
      bias: ops.loadVector(Float32Array.of(0.5, 0, -1, 1)),
      eps: 1e-5,
    };
    const x = tensorOf(Float32Array.of(1, 2, 4, 9), 1);
    ops.layerNorm(x, norm);
    const out = valuesOf(x);
    const expected = [-0.4733280145068077, -1.297770686009077, -1, 7.488853430045385];
    for (const [i, value] of out.entries()) expect(value).toBeCloseTo(expected[i]!, 5);
  });

  test("refuses pairs that have no kernel, naming what would work", () => {
    const dense = denseF32(noise(64, 1), 2);
    expect(() => ops.packLinear([dense], { name: "w", inputForm: "int8-token" })).toThrow(
      /--activations f32/,
    );
    const odd = integerWeight({ rows: 2, cols: 48, bits: 8, groupSize: 48, hasMinimums: false }, 1);
    expect(() => ops.packLinear([odd], { name: "w", inputForm: "int8-block32" })).toThrow(/multiple of 32/);
    expect(() =>
      ops.packLinear([dense, { ...odd, cols: 32, groupSize: 32 }], { name: "w", inputForm: "f32" }),
    ).toThrow(/no kernel/);
  });
});

test("rmsNorm divides by the root of the mean square", () => {
  ops.beginStep(batchOf(1));
  const x = tensorOf(Float32Array.of(3, 4, 0, 0), 1);
  const out = valuesOf(ops.rmsNorm(x, ops.loadVector(Float32Array.of(1, 2, 3, 4)), 0, "f32"));
  expect(out[0]).toBeCloseTo(3 / 2.5, 6);
  expect(out[1]).toBeCloseTo((2 * 4) / 2.5, 6);
});

test("scores more targets than one slab holds as it scores each alone", () => {
  const [count, vocab] = [70, 9];
  const head = ops.packLinear([denseF32(noise(vocab * 4, 1), vocab)], { name: "head", inputForm: "f32" });
  const hiddenValues = noise(count * 4, 2);
  const targets = Int32Array.from({ length: count }, (_, i) => i % vocab);
  const outputFor = (numTargets: number): ScoreOutput => ({
    logprobs: new Float32Array(numTargets),
    argmax: new Int32Array(numTargets),
    topK: 1,
    topIds: new Int32Array(numTargets),
    topLogprobs: new Float32Array(numTargets),
  });
  ops.beginStep(batchOf(count));
  const hidden = tensorOf(hiddenValues, count);
  const together = outputFor(count);
  ops.scoreTargets(hidden, head, targets, together);
  const alone = outputFor(1);
  for (const row of [0, 63, 64, 69]) {
    ops.scoreTargets(
      ops.gatherRows(hidden, Int32Array.of(row), 1),
      head,
      targets.subarray(row, row + 1),
      alone,
    );
    expect(together.logprobs[row]).toBe(alone.logprobs[0]);
    expect(together.argmax[row]).toBe(alone.argmax[0]);
    expect(together.topLogprobs[row]).toBe(alone.topLogprobs[0]);
  }
});

test("refuses a tensor of an earlier step, whose memory may hold something else", () => {
  ops.beginStep(batchOf(1));
  const old = tensorOf(Float32Array.of(1), 1);
  ops.endStep();
  ops.beginStep(batchOf(1));
  expect(() => valuesOf(old)).toThrow(/after its step/);
});

describe("attention", () => {
  const shape = { numHeads: 4, numKvHeads: 2, headDim: 8 };
  const width = (shape.numHeads + 2 * shape.numKvHeads) * shape.headDim;
  const half = shape.headDim / 2;
  const numTokens = 11;
  const qkvValues = noise(numTokens * width, 3);

  /** Runs tokens [first, last) of the sequence, in blocks of 4 that lie in reverse order. */
  function runChunk(
    cache: ReturnType<Ops["createKvCache"]>,
    first: number,
    last: number,
    window = 0,
    softCap = 0,
  ) {
    const rope = ops.loadRope(
      noise(16 * half, 8).map((x) => Math.cos(x)),
      noise(16 * half, 8).map((x) => Math.sin(x)),
      shape.headDim,
    );
    const positions = Int32Array.from({ length: last - first }, (_, i) => first + i);
    ops.beginStep(
      batchOf(last - first, {
        positions,
        slots: positions.map((position) => (2 - (position >> 2)) * 4 + (position & 3)),
        contextLengths: Int32Array.of(last),
        blockTables: Int32Array.of(2, 1, 0),
        blockTableStride: 3,
      }),
    );
    const qkv = tensorOf(qkvValues.slice(first * width, last * width), last - first);
    ops.ropeAndCache(qkv, rope, cache, 0, shape);
    const options = { ...shape, scale: 0.3, slidingWindow: window, softCap };
    const out = valuesOf(ops.pagedAttention(qkv, cache, 0, options, "f32"));
    const rotated = valuesOf(qkv);
    ops.endStep();
    return { out, rotated };
  }

  const newCache = (dtype: "f32" | "f16" | "bf16") =>
    ops.createKvCache({ numLayers: 1, numBlocks: 3, blockSize: 4, numKvHeads: 2, headDim: 8, dtype });

  /** The textbook formula over the rotated q and k of the whole sequence. */
  function naive(rotated: Float32Array, window: number, softCap: number): number[] {
    const out: number[] = [];
    const at = (token: number, head: number, i: number): number =>
      rotated[token * width + head * shape.headDim + i]!;
    for (let query = 0; query < numTokens; query += 1) {
      for (let head = 0; head < shape.numHeads; head += 1) {
        const kvHead = shape.numHeads + Math.floor(head / 2);
        const weights = Array.from({ length: query + 1 }, (_, key) => {
          if (window > 0 && key <= query - window) return 0;
          let score = 0;
          for (let i = 0; i < shape.headDim; i += 1) score += 0.3 * at(query, head, i) * at(key, kvHead, i);
          return Math.exp(softCap > 0 ? softCap * Math.tanh(score / softCap) : score);
        });
        const sum = weights.reduce((a, b) => a + b);
        for (let i = 0; i < shape.headDim; i += 1) {
          out.push(weights.reduce((total, w, key) => total + w * at(key, kvHead + 2, i), 0) / sum);
        }
      }
    }
    return out;
  }

  test.each([
    { window: 0, softCap: 0 },
    { window: 3, softCap: 0 },
    { window: 0, softCap: 0.5 },
  ])("equals the textbook formula with window $window and soft cap $softCap", ({ window, softCap }) => {
    const { out, rotated } = runChunk(newCache("f32"), 0, numTokens, window, softCap);
    const expected = naive(rotated, window, softCap);
    for (const [i, value] of expected.entries()) expect(out[i]).toBeCloseTo(value, 6);
  });

  test("rotates q and k by pairs half a head apart and leaves v alone", () => {
    const { rotated } = runChunk(newCache("f32"), 0, numTokens);
    const [cos, sin] = [Math.cos(noise(16 * half, 8)[half + 1]!), Math.sin(noise(16 * half, 8)[half + 1]!)];
    const [first, second] = [qkvValues[width + 1]!, qkvValues[width + 1 + half]!];
    expect(rotated[width + 1]).toBeCloseTo(first * cos - second * sin, 6);
    expect(rotated[width + 1 + half]).toBeCloseTo(second * cos + first * sin, 6);
    const value = width + (shape.numHeads + shape.numKvHeads) * shape.headDim;
    expect(rotated[value]).toBe(qkvValues[value]);
  });

  test.each(["f32", "f16", "bf16"] as const)(
    "gives the same bits in chunks of any size with a cache in %s",
    (dtype) => {
      const whole = runChunk(newCache(dtype), 0, numTokens).out;
      const cache = newCache(dtype);
      const parts = [runChunk(cache, 0, 5).out, runChunk(cache, 5, 6).out, runChunk(cache, 6, numTokens).out];
      expect(parts.flatMap((part) => [...part])).toEqual([...whole]);
      const exact = runChunk(newCache("f32"), 0, numTokens).out;
      const tolerance = dtype === "f32" ? 0 : dtype === "f16" ? 2e-3 : 2e-2;
      for (const [i, value] of exact.entries())
        expect(Math.abs(whole[i]! - value)).toBeLessThanOrEqual(tolerance);
    },
  );
});
