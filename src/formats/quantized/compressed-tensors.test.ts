import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bytesOf, readerOf } from "../../../tests/tensor-reader.ts";
import { describeWithData, testData } from "../../../tests/test-data.ts";
import type { IntegerWeight } from "../../base/weights.ts";
import { dequantize } from "../dequantize.ts";
import { readWholeFile } from "../file-access.ts";
import { openCheckpoint } from "../open-checkpoint.ts";
import { openSafetensors } from "../safetensors-files.ts";
import type { TensorReader } from "../stored-tensor.ts";
import { readCompressedLinear } from "./compressed-tensors.ts";
import { parseCompressedTensors, type QuantizationScheme } from "./compressed-tensors-config.ts";
import { readQuantization } from "./quantized-linears.ts";

type Json = Record<string, unknown>;

/** Element i of a little-endian bit stream, as the format's definition has it: bit by bit. */
function bitsAt(data: Uint8Array, firstBit: number, bits: number): number {
  let value = 0;
  for (let i = 0; i < bits; i += 1) {
    const bit = firstBit + i;
    value += ((data[bit >> 3]! >> (bit & 7)) & 1) * 2 ** i;
  }
  return value;
}

const int64 = (...values: number[]): Uint8Array =>
  new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer);

/** Packs rows of unsigned integers bit by bit over 32-bit words. */
function pack(rows: number[][], bits: number): Uint8Array {
  const words = Math.ceil((rows[0]!.length * bits) / 32);
  const out = new Uint8Array(rows.length * words * 4);
  for (const [r, row] of rows.entries()) {
    for (const [i, value] of row.entries()) {
      for (let b = 0; b < bits; b += 1) {
        const bit = i * bits + b;
        out[r * words * 4 + (bit >> 3)]! |= ((value >> b) & 1) << (bit & 7);
      }
    }
  }
  return out;
}

const scheme = (part: Partial<QuantizationScheme>): QuantizationScheme => ({
  format: "pack-quantized",
  bits: 4,
  symmetric: true,
  groupSize: 8,
  block: null,
  activations: "unspecified",
  ...part,
});

describe("a pack-quantized linear", () => {
  const cases = fc.record({
    bits: fc.constantFrom(2, 3, 4, 8),
    symmetric: fc.boolean(),
    rows: fc.integer({ min: 1, max: 11 }),
    groups: fc.integer({ min: 1, max: 5 }),
    groupSize: fc.constantFrom(2, 8, 12, 32),
    seed: fc.integer({ min: 1, max: 1e6 }),
  });

  it("equals (q − z) · s of its definition for every width, with groups and zero points", () => {
    fc.assert(
      fc.property(cases, ({ bits, symmetric, rows, groups, groupSize, seed }) => {
        const cols = groups * groupSize;
        const pick = (r: number, c: number, range: number): number =>
          (r * 7919 + c * 104_729 + seed * 31) % range;
        const codes = Array.from({ length: rows }, (_, r) =>
          Array.from({ length: cols }, (_, c) => pick(r, c, 2 ** bits)),
        );
        const zeros = Array.from({ length: groups }, (_, g) =>
          Array.from({ length: rows }, (_, r) => pick(r, g, 2 ** bits)),
        );
        const scales = Float32Array.from({ length: rows * groups }, (_, i) => ((i % 5) - 2.5) / 64);
        // Packed along the rows: word w of group g lies at [w, g].
        const zeroRows = new Uint32Array(pack(zeros, bits).buffer);
        const zeroWords = Math.ceil((rows * bits) / 32);
        const packedZeros = Uint32Array.from(
          { length: zeroWords * groups },
          (_, i) => zeroRows[(i % groups) * zeroWords + Math.floor(i / groups)]!,
        );
        const read = readerOf({
          "m.weight_packed": {
            dtype: "I32",
            shape: [rows, Math.ceil((cols * bits) / 32)],
            data: pack(codes, bits),
          },
          "m.weight_scale": { dtype: "F32", shape: [rows, groups], data: new Uint8Array(scales.buffer) },
          "m.weight_shape": { dtype: "I64", shape: [2], data: int64(rows, cols) },
          "m.weight_zero_point": {
            dtype: "I32",
            shape: [zeroWords, groups],
            data: new Uint8Array(packedZeros.buffer),
          },
        });
        const weight = readCompressedLinear("m", scheme({ bits, symmetric, groupSize }), read);
        const values = dequantize(weight);
        for (let r = 0; r < rows; r += 1) {
          for (let c = 0; c < cols; c += 1) {
            const g = Math.floor(c / groupSize);
            const zero = symmetric ? 2 ** (bits - 1) : zeros[g]![r]!;
            const expected = (codes[r]![c]! - zero) * scales[r * groups + g]!;
            expect(values[r * cols + c]! + 0).toBe(expected + 0);
          }
        }
      }),
    );
  });

  const good = {
    "m.weight_packed": { dtype: "I32", shape: [2, 1], data: new Uint8Array(8) },
    "m.weight_scale": { dtype: "F32", shape: [2, 1], data: new Uint8Array(8) },
    "m.weight_shape": { dtype: "I64", shape: [2], data: int64(2, 8) },
  };

  it.each([
    [
      "packed words of another width",
      { "m.weight_packed": { dtype: "I32", shape: [2, 2], data: new Uint8Array(16) } },
    ],
    ["too few scales", { "m.weight_scale": { dtype: "F32", shape: [3], data: new Uint8Array(12) } }],
    ["a negative shape", { "m.weight_shape": { dtype: "I64", shape: [2], data: int64(-2, 8) } }],
  ])("is refused with %s", (_, change) => {
    expect(() => readCompressedLinear("m", scheme({}), readerOf({ ...good, ...change }))).toThrowError(
      expect.objectContaining({ code: "invalid_model_file" }),
    );
  });

  it.each([4, 8])("of a byte for each of %i bits has its values, with zero points too", (bits) => {
    const limit = 2 ** (bits - 1);
    const codes = Int8Array.from({ length: 32 }, (_, i) => ((i * 7) % (2 * limit)) - limit);
    const zeros = Int8Array.of(-limit, 0, 3, limit - 1);
    const scales = Float32Array.of(0.5, 0.25, 0.0625, 2);
    const tensors = readerOf({
      "m.weight": { dtype: "I8", shape: [2, 16], data: bytesOf(codes) },
      "m.weight_scale": { dtype: "F32", shape: [2, 2], data: bytesOf(scales) },
      "m.weight_zero_point": { dtype: "I8", shape: [2, 2], data: bytesOf(zeros) },
    });
    for (const symmetric of [true, false]) {
      const own = scheme({ format: "int-quantized", bits, symmetric });
      const weight = readCompressedLinear("m", own, tensors);
      expect(weight).toMatchObject({ kind: "integer", bits });
      expect(Array.from(dequantize(weight), (x) => x + 0)).toEqual(
        Array.from(codes, (q, i) => (q - (symmetric ? 0 : zeros[i >> 3]!)) * scales[i >> 3]! + 0),
      );
    }
    const wide = readerOf({
      "m.weight": { dtype: "I8", shape: [1, 2], data: Uint8Array.of(8, 0) },
      "m.weight_scale": { dtype: "F32", shape: [1], data: bytesOf(Float32Array.of(1)) },
    });
    const read = () =>
      readCompressedLinear("m", scheme({ format: "int-quantized", bits, groupSize: null }), wide);
    if (bits === 4) expect(read).toThrowError(/should be integers from -8 to 7/);
    else expect(dequantize(read())).toEqual(Float32Array.of(8, 0));
  });

  it.each([2, 4, 8])("of %i bits with an activation order gives each column its own group", (bits) => {
    const [rows, cols] = [2, 32];
    const codes = Array.from({ length: rows }, (_, row) =>
      Array.from({ length: cols }, (_x, col) => (row * 7 + col * 5) % 2 ** bits),
    );
    const scales = Float32Array.of(0.5, 0.25, 0.0625, 2, 1, 0.125, 4, 8);
    const order = Int32Array.from({ length: cols }, (_, col) => (col * 5) % 4);
    const tensors = {
      "m.weight_packed": { dtype: "I32", shape: [rows, bits], data: pack(codes, bits) },
      "m.weight_shape": { dtype: "I64", shape: [2], data: int64(rows, cols) },
      "m.weight_scale": { dtype: "F32", shape: [rows, 4], data: bytesOf(scales) },
      "m.weight_g_idx": { dtype: "I32", shape: [cols], data: bytesOf(order) },
    };
    const read = (index: Int32Array) =>
      readCompressedLinear(
        "m",
        scheme({ bits }),
        readerOf({ ...tensors, "m.weight_g_idx": { dtype: "I32", shape: [cols], data: bytesOf(index) } }),
      );
    const expected = (groupOf: (col: number) => number): number[] =>
      codes.flatMap((row, r) =>
        row.map((u, col) => (u - 2 ** (bits - 1)) * scales[r * 4 + groupOf(col)]! + 0),
      );
    expect(Array.from(dequantize(read(order)), (x) => x + 0)).toEqual(expected((col) => order[col]!));
    const inOrder = read(order.map((_, col) => col >> 3));
    expect(inOrder.kind).toBe("integer");
    expect(Array.from(dequantize(inOrder), (x) => x + 0)).toEqual(expected((col) => col >> 3));
    expect(() => read(order.map(() => 4))).toThrowError(/m.weight_g_idx.* of groups below 4/);
  });
});

describeWithData("files of llm-compressor", () => {
  const linears = [
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.down_proj",
  ];

  it.each([
    ["w8a8", 8, "int8-token", "compressed-tensors W8A8"],
    ["w8a16-channel", 8, "unspecified", "compressed-tensors W8A16"],
    ["w4a8-g32", 4, "int8-token", "compressed-tensors W4A8 g32"],
    ["w4a16-g32", 4, "unspecified", "compressed-tensors W4A16 g32"],
    ["w4a16-g32-asym", 4, "unspecified", "compressed-tensors W4A16 g32 asym"],
  ] as const)("%s decode as the format's definition says", (name, bits, activations, label) => {
    const folder = testData("models", "compressed-tensors", name);
    const checkpoint = openCheckpoint(folder);
    const raw = openSafetensors(folder, readWholeFile);
    expect(checkpoint.weightFormat).toBe(label);
    for (const module of linears.map((linear) => `model.layers.1.${linear}`)) {
      const weight = checkpoint.linear(module) as IntegerWeight;
      expect(weight).toMatchObject({ kind: "integer", bits, activations });
      expect(dequantize(weight).map((value) => value + 0)).toEqual(
        decodeByDefinition(raw, module, weight.rows, weight.cols),
      );
    }
    expect(checkpoint.linear("lm_head")).toMatchObject({ kind: "dense", dtype: "bf16" });
    expect(checkpoint.has("model.layers.0.mlp.up_proj")).toBe(true);
    expect(checkpoint.has("model.layers.9.mlp.up_proj")).toBe(false);
  });

  function bf16At(data: Uint8Array, i: number): number {
    return new Float32Array(Uint32Array.of((data[2 * i]! | (data[2 * i + 1]! << 8)) << 16).buffer)[0]!;
  }

  function decodeByDefinition(read: TensorReader, module: string, rows: number, cols: number): Float32Array {
    const scale = read.tensor(`${module}.weight_scale`);
    const perRow = scale.shape[1]!;
    const packed = read.has(`${module}.weight_packed`) ? read.tensor(`${module}.weight_packed`) : null;
    const bits = packed === null ? 8 : (packed.shape[1]! * 32) / cols;
    const zeros = read.has(`${module}.weight_zero_point`) ? read.tensor(`${module}.weight_zero_point`) : null;
    const bytes = packed === null ? read.tensor(`${module}.weight`).data : packed.data;
    return Float32Array.from({ length: rows * cols }, (_, i) => {
      const row = Math.floor(i / cols);
      const group = Math.floor((i % cols) / (cols / perRow));
      const q = packed === null ? (bytes[i]! << 24) >> 24 : bitsAt(bytes, i * bits, bits) - 2 ** (bits - 1);
      const word = Math.floor((row * bits) / 32) * perRow + group;
      const z =
        zeros === null ? 0 : bitsAt(zeros.data, word * 32 + ((row * bits) % 32), bits) - 2 ** (bits - 1);
      return (q - z) * bf16At(scale.data, row * perRow + group) + 0;
    });
  }

  it("of FP8 say that activations are not rounded to float8", () => {
    const checkpoint = openCheckpoint(testData("models", "compressed-tensors", "fp8-dynamic"));
    expect(checkpoint.weightFormat).toBe("compressed-tensors FP8, activations not rounded");
    expect(checkpoint.linear("model.layers.0.mlp.up_proj")).toMatchObject({ kind: "dense", dtype: "f32" });
  });
});

describe("quantization_config", () => {
  const json =
    JSON.parse(`{"quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized",
    "ignore": ["lm_head", "re:.*gate$"], "config_groups": {
      "group_0": {"targets": ["re:.*down_proj"], "weights": {"num_bits": 8, "type": "int", "strategy": "channel"}},
      "group_1": {"targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "group_size": 64, "symmetric": false}}}}}`) as Json;

  const changed = (change: (quantization: Json, weights: Json) => void): Json => {
    const copy = structuredClone(json) as {
      quantization_config: Json & { config_groups: { group_1: { weights: Json } } };
    };
    change(copy.quantization_config, copy.quantization_config.config_groups.group_1.weights);
    return copy;
  };

  it("gives each module the scheme of the first group that targets it", () => {
    const config = parseCompressedTensors((json as { quantization_config: Json }).quantization_config);
    expect(config.label).toBe("compressed-tensors W8A16 + W4A16 g64 asym");
    expect(config.schemeOf("model.layers.0.mlp.down_proj")).toMatchObject({
      bits: 8,
      groupSize: null,
      symmetric: true,
    });
    expect(config.schemeOf("model.layers.0.mlp.up_proj")).toMatchObject({
      bits: 4,
      groupSize: 64,
      symmetric: false,
    });
    expect(config.schemeOf("lm_head")).toBeNull();
    expect(config.schemeOf("model.layers.0.mlp.gate")).toBeNull();
    expect(config.schemeOf("model.embed_tokens")).toBeNull();
  });

  it("gives a module the scheme that names it most exactly, whatever the order of the groups", () => {
    const weights = (bits: number): Json => ({ num_bits: bits, type: "int", strategy: "channel" });
    const config = parseCompressedTensors({
      format: "pack-quantized",
      config_groups: {
        a: { targets: ["Linear"], weights: weights(4) },
        b: { targets: ["re:.*layers.0.*"], weights: weights(8) },
        c: { targets: ["model.layers.0.mlp.up_proj"], weights: weights(2) },
      },
    });
    expect(config.schemeOf("model.layers.0.mlp.up_proj")?.bits).toBe(2);
    expect(config.schemeOf("model.layers.0.mlp.down_proj")?.bits).toBe(8);
    expect(config.schemeOf("model.layers.1.mlp.up_proj")?.bits).toBe(4);
  });

  it("under its old key, with a format for each group and a frozen status, is read too", () => {
    const { quantization_config: quantization } = json as { quantization_config: Json };
    const old = { compression_config: { ...quantization, quantization_status: "frozen" } };
    expect(readQuantization(old)?.label).toBe("compressed-tensors W8A16 + W4A16 g64 asym");
    expect(readQuantization({})).toBeNull();
    expect(() => readQuantization({ quantization_config: {} })).toThrowError(
      /neither quant_method nor config_groups/,
    );
  });

  it.each<[string, (quantization: Json, weights: Json) => void]>([
    ["quant_method", (q) => Object.assign(q, { quant_method: "hqq" })],
    ["mxfp4", (q) => Object.assign(q, { quant_method: "mxfp4" })],
    ['type "float" and 4 bits', (_, w) => Object.assign(w, { type: "float", num_bits: 4 })],
    ["nvfp4-pack-quantized", (q) => Object.assign(q, { format: "nvfp4-pack-quantized" })],
    ["5 bits", (_, w) => Object.assign(w, { num_bits: 5 })],
    ['strategy "block"', (_, w) => Object.assign(w, { strategy: "block" })],
    ["kv_cache_scheme", (q) => Object.assign(q, { kv_cache_scheme: { num_bits: 8 } })],
    [
      'kv_cache_scheme of {"num_bits":8,"type":"float"',
      (q) => Object.assign(q, { kv_cache_scheme: { num_bits: 8, type: "float", dynamic: true } }),
    ],
    ["sparse-24-bitmask", (q) => Object.assign(q, { sparsity_config: { format: "sparse-24-bitmask" } })],
    [
      "online transform",
      (q) =>
        Object.assign(q, { transform_config: { config_groups: { r: { apply: [{ location: "input" }] } } } }),
    ],
  ])("is refused by name for %s", (what, change) => {
    expect(() => readQuantization(changed(change))).toThrowError(
      expect.objectContaining({ code: "unsupported_format", message: expect.stringContaining(what) }),
    );
  });

  it("names what has the wrong form", () => {
    expect(() =>
      readQuantization(changed((_, w) => Object.assign(w, { group_size: 0.5, strategy: "group" }))),
    ).toThrowError(
      expect.objectContaining({ code: "invalid_model_file", message: expect.stringContaining("group_size") }),
    );
    expect(() => readQuantization(changed((q) => Object.assign(q, { ignore: ["re:("] })))).toThrowError(
      expect.objectContaining({ code: "invalid_model_file" }),
    );
  });
});
