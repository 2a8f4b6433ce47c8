import { afterEach, describe, expect, test } from "vitest";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import type { Ops, RaggedBatch } from "../../src/kernels/ops.ts";
import { describeWithData, testData } from "../test-data.ts";
import { backends } from "./backends.ts";
import { readFloatTensors, readJson, relativeError } from "./golden-files.ts";
import { openModel, promptLogits } from "./model-runs.ts";

const folder = (scheme: string): string => testData("models", "compressed-tensors", scheme);
const schemes = ["base", "w8a8", "w4a16-g32", "w4a16-g32-asym", "w4a8-g32", "w8a16-channel"];
const prompts = (scheme: string): number[][] =>
  readJson<{ prompts: number[][] }>(`${folder(scheme)}/golden.json`).prompts;

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

      test("w8a8 takes int8 activations per token unless told otherwise, and says nothing", () => {
        ops = backend.create();
        const loaded = openModel(ops, folder("w8a8"), { dtype: "auto", activations: "auto" });
        expect(loaded.activations).toBe("int8-token + bf16");
        expect(loaded.notes).toEqual([]);
      });

      test.each(["q_proj", "o_proj"])("w8a8 %s equals a float emulation of its integers", (projection) => {
        ops = backend.create();
        const checkpoint = openCheckpoint(folder("w8a8"));
        const weight = checkpoint.linear(`model.layers.1.self_attn.${projection}`);
        checkpoint.close();
        if (weight.kind !== "integer") throw new Error("w8a8 weights are integers");
        const { rows, cols } = weight;
        const codes = Int8Array.from(weight.codes);
        const packed = ops.packLinear([weight], { name: projection, inputForm: "int8-token" });
        const numTokens = 5;
        const x = Float32Array.from({ length: numTokens * cols }, (_, i) => Math.sin(i * 12.9898) * 3);
        const table = ops.packLinear(
          [{ kind: "dense", rows: numTokens, cols, dtype: "f32", data: new Uint8Array(x.buffer) }],
          { name: "inputs", inputForm: "f32" },
        );
        ops.beginStep(batchOf(numTokens));
        const out = new Float32Array(numTokens * rows);
        ops.read(ops.linear(ops.convert(ops.embed(table), "int8-token"), packed), out);
        ops.endStep();
        for (let token = 0; token < numTokens; token += 1) {
          const input = x.subarray(token * cols, (token + 1) * cols);
          const scale = Math.fround(input.reduce((a, b) => Math.max(a, Math.abs(b)), 0) / 127);
          const quantized = Array.from(input, (value) => halfEven(Math.fround(value / scale)));
          for (let n = 0; n < rows; n += 1) {
            const sum = quantized.reduce((total, q, k) => total + q * codes[n * cols + k]!, 0);
            const expected = scale * weight.scales[n]! * sum;
            expect(Math.abs(out[token * rows + n]! - expected)).toBeLessThanOrEqual(
              Math.abs(expected) * 3e-7,
            );
          }
        }
      });
    });
  }
});

function halfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  if (rest !== 0.5) return Math.round(x);
  return floor % 2 === 0 ? floor : floor + 1;
}
