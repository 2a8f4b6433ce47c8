import { describe, expect, it } from "vitest";
import { readQuantized } from "../../../tests/read-quantized.ts";
import { bytesOf, readerOf } from "../../../tests/tensor-reader.ts";
import { dequantize } from "../dequantize.ts";
import type { StoredTensor } from "../stored-tensor.ts";
import { readQuantization } from "./quantized-linears.ts";

const f32s = (values: readonly number[]): Omit<StoredTensor, "name"> => ({
  dtype: "F32",
  shape: [values.length],
  data: bytesOf(Float32Array.from(values)),
});

/** float8 E4M3 by its definition: sign, four bits of exponent, three of mantissa. */
function e4m3(byte: number): number {
  const text = byte.toString(2).padStart(8, "0");
  const exponent = Number.parseInt(text.slice(1, 5), 2);
  const fraction = Number.parseInt(text.slice(5), 2) / 8;
  const size = exponent === 0 ? fraction * 2 ** -6 : (1 + fraction) * 2 ** (exponent - 7);
  return text.startsWith("1") ? -size : size;
}

/** Bytes that are numbers. */
const bytes = (count: number): Uint8Array =>
  Uint8Array.from({ length: count }, (_, i) => {
    const byte = (Math.imul(i + 3, 0x9e3779b1) >>> 16) & 255;
    return (byte & 0x7f) === 0x7f ? 0 : byte;
  });

describe("float8 weights", () => {
  const [rows, cols] = [5, 12];
  const weight = { dtype: "F8_E4M3", shape: [rows, cols], data: bytes(rows * cols) };
  const wanted = (scale: (row: number, col: number) => number): number[] =>
    Array.from(weight.data, (byte, i) =>
      Math.fround(e4m3(byte) * Math.fround(scale(Math.floor(i / cols), i % cols))),
    );

  it("take the largest finite value, the smallest one and both zeros", () => {
    const data = Uint8Array.of(0x7e, 0x01, 0x00, 0x80);
    const tensors = { "m.weight": { dtype: "F8_E4M3", shape: [1, 4], data }, "m.weight_scale": f32s([1]) };
    expect([...dequantize(readQuantized({ quant_method: "fbgemm_fp8" }, tensors))]).toEqual([
      448,
      2 ** -9,
      0,
      -0,
    ]);
  });

  it("take one scale for each block, short at the ends", () => {
    const scales = [0.5, 0.3, 7, 0.01, 1.5, 2.25];
    const tensors = { "m.weight": weight, "m.weight_scale_inv": { ...f32s(scales), shape: [2, 3] } };
    const values = dequantize(readQuantized({ quant_method: "fp8", weight_block_size: [4, 5] }, tensors));
    expect([...values]).toEqual(wanted((row, col) => scales[Math.floor(row / 4) * 3 + Math.floor(col / 5)]!));
  });

  it("take one scale for each row, or for all", () => {
    const scales = [0.5, 0.3, 7, 0.01, 1.5];
    const perRow = { "m.weight": weight, "m.weight_scale": { ...f32s(scales), shape: [rows, 1] } };
    expect([...dequantize(readQuantized({ quant_method: "fbgemm_fp8" }, perRow))]).toEqual(
      wanted((row) => scales[row]!),
    );
    const single = { "m.weight": weight, "m.weight_scale": f32s([0.7]) };
    expect([...dequantize(readQuantized({ quant_method: "fp8" }, single))]).toEqual(wanted(() => 0.7));
  });

  it("of compressed-tensors take blocks of either spelling", () => {
    const scales = [0.5, 0.3, 7, 0.01, 1.5, 2.25];
    const tensors = { "m.weight": weight, "m.weight_scale": { ...f32s(scales), shape: [2, 3] } };
    for (const structure of ["4x5", [4, 5]]) {
      const weights = { num_bits: 8, type: "float", strategy: "block", block_structure: structure };
      const config = {
        config_groups: { group_0: { targets: ["Linear"], weights, format: "float-quantized" } },
      };
      expect([...dequantize(readQuantized(config, tensors))]).toEqual(
        wanted((row, col) => scales[Math.floor(row / 4) * 3 + Math.floor(col / 5)]!),
      );
    }
  });

  it("with too few scales are refused by name, and other modules stay dense", () => {
    const tensors = { "m.weight": weight, "m.weight_scale_inv": f32s([1, 2]) };
    const config = { quant_method: "fp8", weight_block_size: [4, 5], modules_to_not_convert: ["lm_head"] };
    expect(() => readQuantized(config, tensors)).toThrow(
      /m.weight_scale_inv is F32 \[2\]; it should be BF16, F16 or F32 with 6 values/,
    );
    const reader = readQuantization({ quantization_config: config })!;
    expect(reader.read("lm_head", readerOf({ "lm_head.weight": weight }))).toBeNull();
    expect(reader.read("n", readerOf({ "n.weight": { ...weight, dtype: "BF16" } }))).toBeNull();
  });
});

/** The sixteen values of nf4 (Dettmers et al. 2023, appendix E). */
const nf4 = [
  -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
  -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
  0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
];

describe("a bitsandbytes checkpoint", () => {
  const config = { quant_method: "bitsandbytes", load_in_4bit: true, bnb_4bit_quant_type: "nf4" };
  const [rows, cols] = [6, 48];
  const count = rows * cols;
  const codes = Array.from({ length: count }, (_, i) => (Math.imul(i + 5, 0x9e3779b1) >>> 20) & 15);
  const state = (more: object): Omit<StoredTensor, "name"> => {
    const data = new TextEncoder().encode(
      JSON.stringify({ quant_type: "nf4", blocksize: 64, dtype: "bfloat16", shape: [rows, cols], ...more }),
    );
    return { dtype: "U8", shape: [data.length], data };
  };
  const packed = Uint8Array.from({ length: count / 2 }, (_, i) => codes[2 * i]! * 16 + codes[2 * i + 1]!);
  const common = {
    "m.weight": { dtype: "U8", shape: [count / 2, 1], data: packed },
    "m.weight.quant_map": f32s(nf4),
  };
  const largest = [0.5, 2.5, 0.125, 3, 0.75];

  it("of nf4 has the values of its table, the first of two in the high half, blocks across rows", () => {
    const tensors = {
      ...common,
      "m.weight.absmax": f32s(largest),
      "m.weight.quant_state.bitsandbytes__nf4": state({}),
    };
    const weight = readQuantized(config, tensors);
    expect(weight).toMatchObject({ kind: "dense", rows, cols, dtype: "f32" });
    expect([...dequantize(weight)]).toEqual(
      codes.map((code, i) => Math.fround(Math.fround(nf4[code]!) * largest[Math.floor(i / 64)]!)),
    );
  });

  it("of nested nf4 has block sizes behind a table of their own", () => {
    const map = Array.from({ length: 256 }, (_, i) => Math.fround((i - 128) / 129));
    const sizes = Uint8Array.of(200, 3, 255, 128, 77);
    const tensors = {
      ...common,
      "m.weight.absmax": { dtype: "U8", shape: [5], data: sizes },
      "m.weight.nested_quant_map": f32s(map),
      "m.weight.nested_absmax": f32s([0.3, 0.7]),
      "m.weight.quant_state.bitsandbytes__nf4": state({ nested_blocksize: 4, nested_offset: 1.25 }),
    };
    const scale = (block: number): number =>
      Math.fround(Math.fround(map[sizes[block]!]! * Math.fround(block < 4 ? 0.3 : 0.7)) + 1.25);
    expect([...dequantize(readQuantized(config, tensors))]).toEqual(
      codes.map((code, i) => Math.fround(Math.fround(nf4[code]!) * scale(Math.floor(i / 64)))),
    );
  });

  it("of int8 has one scale for each row", () => {
    const data = Int8Array.from({ length: 12 }, (_, i) => ((i * 37) % 255) - 127);
    const tensors = {
      "m.weight": { dtype: "I8", shape: [3, 4], data: bytesOf(data) },
      "m.SCB": f32s([0.5, 12.7, 3]),
    };
    const weight = readQuantized({ quant_method: "bitsandbytes", load_in_8bit: true }, tensors);
    expect(weight).toMatchObject({ kind: "integer", bits: 8, groupSize: 4, minimums: null });
    const scb = [0.5, 12.7, 3];
    for (const [i, value] of dequantize(weight).entries())
      expect(value).toBeCloseTo((data[i]! * scb[Math.floor(i / 4)]!) / 127, 5);
  });

  it("is refused with what does not fit", () => {
    const tensors = {
      ...common,
      "m.weight.absmax": f32s([1]),
      "m.weight.quant_state.bitsandbytes__nf4": state({}),
    };
    expect(() => readQuantized(config, tensors)).toThrow(
      /m.weight.absmax is F32 \[1\]; it should be F32 \[5\]/,
    );
    const bad = { ...tensors, "m.weight.quant_state.bitsandbytes__nf4": state({ shape: [0] }) };
    expect(() => readQuantized(config, bad)).toThrow(/has shape\[0\] = 0/);
  });
});
