import { afterEach, describe, expect, test } from "vitest";
import type { IntegerWeight } from "../../src/base/weights.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import type { Ops, RaggedBatch } from "../../src/kernels/ops.ts";
import { planModel } from "../../src/model/plan-model.ts";
import { describeWithData, testData } from "../test-data.ts";
import { backends } from "./backends.ts";
import { readFloatTensors, readJson, relativeError } from "./golden-files.ts";
import { exact, openModel, promptLogits } from "./model-runs.ts";

const folder = (scheme: string): string => testData("models", "compressed-tensors", scheme);
const schemes = ["base", "w8a8", "w4a16-g32", "w4a16-g32-asym", "w4a8-g32", "w8a16-channel", "fp8-dynamic"];
const prompts = (scheme: string): number[][] =>
  readJson<{ prompts: number[][] }>(`${folder(scheme)}/golden.json`).prompts;

const integerPaths = [
  ["w8a8", "int8-token", "q_proj"],
  ["w8a8", "int8-token", "o_proj"],
  ["w4a8-g32", "int8-token", "q_proj"],
  ["w4a16-g32", "int8-block32", "q_proj"],
  ["w4a16-g32-asym", "int8-block32", "o_proj"],
  ["w8a16-channel", "int8-block32", "k_proj"],
] as const;

/** Tokens 0 … count − 1 as one sequence in one block. */
function batchOf(count: number): RaggedBatch {
  const ids = Int32Array.from({ length: count }, (_, i) => i);
  return {
    numTokens: count,
    numSeqs: 1,
    tokenIds: ids,
    positions: ids,
    slots: ids,
    queryStarts: Int32Array.of(0, count),
    contextLengths: Int32Array.of(count),
    blockTables: Int32Array.of(0),
    blockTableStride: 1,
  };
}

describeWithData("compressed-tensors models of llm-compressor", () => {
  for (const backend of backends) {
    describe.skipIf(!backend.isAvailable)(backend.name, () => {
      let ops: Ops;
      afterEach(() => ops.close());

      test.each(schemes.slice(1))(
        "%s with f32 activations gives the logits of the dequantised weights",
        (scheme) => {
          ops = backend.create();
          const loaded = openModel(ops, folder(scheme));
          const expected = readFloatTensors(`${folder(scheme)}/golden.safetensors`);
          for (const [index, prompt] of prompts(scheme).entries()) {
            const logits = promptLogits(ops, loaded, prompt);
            expect(relativeError(logits, expected.get(`prompt${index}.logits`)!)).toBeLessThan(1e-4);
          }
        },
      );

      test.skipIf(!backend.isNative).each(schemes)("%s takes the memory that its header tells", (scheme) => {
        ops = backend.create();
        const planned = planModel(openCheckpoint(folder(scheme)), exact).ops;
        openModel(ops, folder(scheme), exact, 8);
        expect(ops.memory().weights).toBe(planned.weightBytes + 8 * planned.rotationBytesPerPosition);
      });

      test("w8a8 takes int8 activations per token unless told otherwise, and says nothing", () => {
        ops = backend.create();
        const loaded = openModel(ops, folder("w8a8"), { dtype: "auto", activations: "auto" });
        expect(loaded.activations).toBe("int8-token + bf16");
        expect(loaded.notes).toEqual([]);
      });

      test.each(integerPaths)(
        "%s with %s activations equals a float64 emulation of %s",
        (scheme, form, projection) => {
          ops = backend.create();
          const checkpoint = openCheckpoint(folder(scheme));
          const weight = checkpoint.linear(`model.layers.1.self_attn.${projection}`);
          checkpoint.close();
          if (weight.kind !== "integer") throw new Error(`${scheme} weights are integers`);
          const { rows, cols } = weight;
          const packed = ops.packLinear([weight], { name: projection, inputForm: form });
          const numTokens = 5;
          const x = Float32Array.from({ length: numTokens * cols }, (_, i) => Math.sin(i * 12.9898) * 3);
          const table = ops.packLinear(
            [{ kind: "dense", rows: numTokens, cols, dtype: "f32", data: new Uint8Array(x.buffer) }],
            { name: "inputs", inputForm: "f32" },
          );
          ops.beginStep(batchOf(numTokens));
          const out = new Float32Array(numTokens * rows);
          ops.read(ops.linear(ops.convert(ops.embed(table), form), packed), out);
          ops.endStep();
          for (let token = 0; token < numTokens; token += 1) {
            const input = x.subarray(token * cols, (token + 1) * cols);
            for (let n = 0; n < rows; n += 1) {
              const { sum, size } = emulate(input, form, weight, n);
              // Each of the few terms is rounded three times in f32.
              expect(Math.abs(out[token * rows + n]! - sum)).toBeLessThanOrEqual(size * 3e-7);
            }
          }
        },
      );
    });
  }
});

/** Codes as the format means them, without the 4-bit form's offset. */
function codeAt({ bits, codes, minimums }: IntegerWeight, index: number): number {
  if (bits === 8) return (codes[index]! << 24) >> 24;
  const code = (codes[index >> 1]! >> ((index & 1) * 4)) & 15;
  return minimums === null ? code - 8 : code;
}

/** The dot product of one row with an input rounded to int8, and the sum of its terms' sizes, in doubles. */
function emulate(
  input: Float32Array,
  form: "int8-token" | "int8-block32",
  weight: IntegerWeight,
  row: number,
): { readonly sum: number; readonly size: number } {
  const { cols, groupSize, scales, minimums } = weight;
  const width = form === "int8-token" ? cols : 32;
  let sum = 0;
  let size = 0;
  const add = (term: number): void => {
    sum += term;
    size += Math.abs(term);
  };
  for (let start = 0; start < cols; start += width) {
    const block = input.subarray(start, start + width);
    const scale = Math.fround(block.reduce((a, b) => Math.max(a, Math.abs(b)), 0) / 127);
    for (let first = start; first < start + width; first += Math.min(width, groupSize)) {
      const group = row * (cols / groupSize) + Math.floor(first / groupSize);
      let dot = 0;
      let total = 0;
      for (let col = first; col < first + Math.min(width, groupSize); col += 1) {
        const q = halfEven(Math.fround(input[col]! / scale));
        dot += q * codeAt(weight, row * cols + col);
        total += q;
      }
      add(scale * scales[group]! * dot);
      if (minimums !== null) add(scale * minimums[group]! * total);
    }
  }
  return { sum, size };
}

function halfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}
