import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readQuantized, type Tensors } from "../../../tests/read-quantized.ts";
import { bytesOf } from "../../../tests/tensor-reader.ts";
import { f16ToF32, f32ToF16 } from "../../base/half.ts";
import { dequantize } from "../dequantize.ts";

// Packed here from the formats' definitions, value by value, and compared with (q − z) · s worked out in doubles.

interface Matrix {
  readonly rows: number;
  readonly cols: number;
  readonly bits: number;
  readonly groupSize: number;
  /** q of [row][col], z and s of [group][row]. */
  readonly q: (row: number, col: number) => number;
  readonly z: (group: number, row: number) => number;
  readonly s: (group: number, row: number) => number;
}

/** Numbers without pattern: integers from 0 to `limit` − 1. */
const scrambled = (seed: number, limit: number): number => (Math.imul(seed + 1, 0x9e3779b1) >>> 8) % limit;

function matrix(part: Partial<Matrix> & Pick<Matrix, "bits">): Matrix {
  const limit = 2 ** part.bits;
  return {
    rows: 64,
    cols: 96,
    groupSize: 32,
    q: (row, col) => scrambled(row * 1000 + col, limit),
    z: (group, row) => scrambled(group * 77 + row, limit),
    s: (group, row) => f16ToF32(f32ToF16((scrambled(group * 31 + row, 1000) - 500) / 7919)),
    ...part,
  };
}

/** Unsigned integers one after another, least significant bit first, over 32-bit words. */
function bitStream(values: readonly number[], bits: number): Uint32Array {
  const words = new Uint32Array((values.length * bits) / 32);
  for (const [i, value] of values.entries()) {
    for (let b = 0; b < bits; b += 1) {
      const at = i * bits + b;
      if ((value >> b) & 1) words[at >> 5] = (words[at >> 5]! | (1 << (at & 31))) >>> 0;
    }
  }
  return words;
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
function gptqTensors(m: Matrix, zeroOffset: number, order: number[] | null): Tensors {
  const { rows, cols, bits, groupSize } = m;
  const groups = range(cols / groupSize);
  const words = (cols * bits) / 32;
  const qweight = new Uint32Array(words * rows);
  for (let row = 0; row < rows; row += 1) {
    const column = bitStream(
      range(cols).map((col) => m.q(row, col)),
      bits,
    );
    for (const [word, value] of column.entries()) qweight[word * rows + row] = value;
  }
  const mask = 2 ** bits - 1;
  const qzeros = groups.flatMap((group) => [
    ...bitStream(
      range(rows).map((row) => (m.z(group, row) - zeroOffset) & mask),
      bits,
    ),
  ]);
  const scales = Uint16Array.from(
    groups.flatMap((group) => range(rows).map((row) => f32ToF16(m.s(group, row)))),
  );
  const index = order ?? range(cols).map((col) => Math.floor(col / groupSize));
  return {
    "m.qweight": { dtype: "I32", shape: [words, rows], data: bytesOf(qweight) },
    "m.qzeros": {
      dtype: "I32",
      shape: [groups.length, (rows * bits) / 32],
      data: bytesOf(Uint32Array.from(qzeros)),
    },
    "m.scales": { dtype: "F16", shape: [groups.length, rows], data: bytesOf(scales) },
    "m.g_idx": { dtype: "I32", shape: [cols], data: bytesOf(Int32Array.from(index)) },
  };
}

function expected(m: Matrix, groupOf: (col: number) => number): number[] {
  return range(m.rows).flatMap((row) =>
    range(m.cols).map((col) => {
      const group = groupOf(col);
      return Math.fround((m.q(row, col) - m.z(group, row)) * m.s(group, row)) + 0;
    }),
  );
}

const values = (config: Record<string, unknown>, tensors: Tensors): number[] =>
  Array.from(dequantize(readQuantized(config, tensors)), (x) => x + 0);

describe("a GPTQ checkpoint", () => {
  const config = { quant_method: "gptq", bits: 4, group_size: 32, desc_act: false };

  it.each([2, 3, 4, 8])("of %i bits has the values of its definition, in both versions", (bits) => {
    const m = matrix({ bits });
    const wanted = expected(m, (col) => Math.floor(col / 32));
    expect(values({ ...config, sym: false }, gptqTensors(m, 1, null))).toEqual(wanted);
    expect(values({ ...config, checkpoint_format: "gptq_v2" }, gptqTensors(m, 0, null))).toEqual(wanted);
  });

  it.each([2, 3, 4, 8])("of %i bits with zero points in the middle has no minimums", (bits) => {
    const m = matrix({ bits, z: () => 2 ** (bits - 1) });
    const weight = readQuantized({ ...config, sym: true }, gptqTensors(m, 1, null));
    expect(weight).toMatchObject({
      kind: "integer",
      minimums: null,
      bits: bits === 8 ? 8 : 4,
      groupSize: 32,
    });
    expect(Array.from(dequantize(weight), (x) => x + 0)).toEqual(expected(m, (col) => Math.floor(col / 32)));
  });

  it("stores the zero point 8 of version 1 as 0x77777777", () => {
    const { data } = gptqTensors(matrix({ bits: 4, z: () => 8 }), 1, null)["m.qzeros"]!;
    expect([...data.subarray(0, 4)]).toEqual([0x77, 0x77, 0x77, 0x77]);
  });

  it("with activation order gives each column the scale of its own group", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(range(96), { minLength: 96 }), (columns) => {
        const order = columns.map((col) => Math.floor(col / 32));
        const m = matrix({ bits: 4 });
        const tensors = gptqTensors(m, 1, order);
        expect(values({ ...config, desc_act: true }, tensors)).toEqual(expected(m, (col) => order[col]!));
        const weight = readQuantized({ ...config, desc_act: true }, tensors);
        if (weight.kind !== "reordered") return expect(order).toEqual(order.toSorted((a, b) => a - b));
        // Integers of the file, each under the scale of its group, with the input column that it came from.
        const { codes } = weight.matrix;
        for (let at = 0; at < codes.length * 2; at += 1) {
          const column = weight.columns[at % 96]!;
          expect((codes[at >> 1]! >> ((at & 1) << 2)) & 15).toBe(m.q(Math.floor(at / 96), column));
          expect(order[column]).toBe(Math.floor((at % 96) / 32));
        }
      }),
      { numRuns: 10 },
    );
  });

  it("takes one group for a whole row", () => {
    const m = matrix({ bits: 4, groupSize: 96 });
    expect(values({ ...config, group_size: -1 }, gptqTensors(m, 1, null))).toEqual(expected(m, () => 0));
  });

  it("is refused by name in other layouts, and where its tensors do not fit", () => {
    expect(() => readQuantized({ ...config, checkpoint_format: "marlin" }, {})).toThrow(
      /checkpoint_format "marlin"; gptq and/,
    );
    const good = gptqTensors(matrix({ bits: 4 }), 1, null);
    const far = { ...good, "m.g_idx": { ...good["m.g_idx"]!, data: bytesOf(new Int32Array(96).fill(3)) } };
    expect(() => readQuantized(config, far)).toThrow(
      /m.g_idx is I32 \[96\]; it should be I32 \[96\] of groups below 3/,
    );
    const narrow = { ...good, "m.scales": { ...good["m.scales"]!, shape: [3, 63] } };
    expect(() => readQuantized(config, narrow)).toThrow(/m.scales is F16 \[3, 63\]/);
    const five = gptqTensors(matrix({ bits: 5, rows: 64, cols: 64 }), 1, null);
    expect(() => readQuantized(config, five)).toThrow(/of 5 bits; 2, 3, 4 and 8 are read/);
  });
});

describe("an AWQ checkpoint", () => {
  const config = { quant_method: "awq", bits: 4, group_size: 32, version: "gemm", zero_point: true };
  /** From the low nibble up, the outputs of a word (AutoAWQ). */
  const order = [0, 2, 4, 6, 1, 3, 5, 7];

  function packOutputs(
    count: number,
    rows: number,
    value: (index: number, row: number) => number,
  ): Uint32Array {
    const words = new Uint32Array((count * rows) / 8);
    for (let index = 0; index < count; index += 1) {
      for (let word = 0; word < rows / 8; word += 1) {
        let packed = 0;
        for (const [nibble, output] of order.entries())
          packed += value(index, word * 8 + output) * 16 ** nibble;
        words[(index * rows) / 8 + word] = packed;
      }
    }
    return words;
  }

  function awqTensors(m: Matrix): Tensors {
    const { rows, cols, groupSize } = m;
    const groups = cols / groupSize;
    const scales = range(groups).flatMap((group) => range(rows).map((row) => f32ToF16(m.s(group, row))));
    return {
      "m.qweight": {
        dtype: "I32",
        shape: [cols, rows / 8],
        data: bytesOf(packOutputs(cols, rows, (col, row) => m.q(row, col))),
      },
      "m.qzeros": { dtype: "I32", shape: [groups, rows / 8], data: bytesOf(packOutputs(groups, rows, m.z)) },
      "m.scales": { dtype: "F16", shape: [groups, rows], data: bytesOf(Uint16Array.from(scales)) },
    };
  }

  it("has the values of its definition", () => {
    const m = matrix({ bits: 4 });
    const weight = readQuantized(config, awqTensors(m));
    expect(weight).toMatchObject({ kind: "integer", bits: 4, groupSize: 32, rows: 64, cols: 96 });
    expect(Array.from(dequantize(weight), (x) => x + 0)).toEqual(expected(m, (col) => Math.floor(col / 32)));
  });

  it("is refused by name in other versions", () => {
    expect(() => readQuantized({ ...config, version: "gemv_fast" }, {})).toThrow(
      /in version "gemv_fast"; 4 bits of version gemm/,
    );
  });
});
