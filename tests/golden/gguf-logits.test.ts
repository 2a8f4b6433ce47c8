import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, test } from "vitest";
import { dequantize } from "../../src/formats/dequantize.ts";
import { readBlocks } from "../../src/formats/gguf/blocks.ts";
import { readGgufHeader } from "../../src/formats/gguf/header.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import type { Ops } from "../../src/kernels/ops.ts";
import { planModel } from "../../src/model/plan-model.ts";
import { describeWithData, hasTestData, testData } from "../test-data.ts";
import { backends } from "./backends.ts";
import { readJson, relativeError } from "./golden-files.ts";
import { exact, openModel, promptLogits } from "./model-runs.ts";

interface Golden {
  readonly prompts: readonly (readonly number[])[];
  readonly files: Readonly<
    Record<
      string,
      {
        readonly file: string;
        readonly lastLogits: readonly number[][];
        /** By the file's own names, dequantised to float32, rows in the file's order. */
        readonly tensors: Readonly<Record<string, { readonly type: string; readonly sha256: string }>>;
      }
    >
  >;
}

const golden: Golden = hasTestData
  ? readJson<Golden>(testData("models", "gguf", "golden.json"))
  : { prompts: [], files: {} };

const types = Object.keys(golden.files);

describeWithData("GGUF files of llama.cpp against gguf-py", () => {
  test.each(types)("every tensor of %s dequantises to the recorded bytes", (type) => {
    const { file, tensors } = golden.files[type]!;
    const path = testData("models", "gguf", file);
    const bytes = readFileSync(path);
    const { tensors: stored } = readGgufHeader(path);
    expect([...stored.keys()].toSorted()).toEqual(Object.keys(tensors).toSorted());
    for (const [name, { type: recorded, sha256 }] of Object.entries(tensors)) {
      const tensor = stored.get(name)!;
      expect(tensor.type.name).toBe(recorded);
      const [rows, cols] =
        tensor.shape.length === 1 ? [1, tensor.shape[0]!] : [tensor.shape[0]!, tensor.shape[1]!];
      const data = Uint8Array.from(bytes.subarray(tensor.offset, tensor.offset + tensor.sizeBytes));
      const values = dequantize(readBlocks({ type: tensor.type.name, rows, cols, data })!);
      expect(createHash("sha256").update(new Uint8Array(values.buffer)).digest("hex"), name).toBe(sha256);
    }
  });
});

describeWithData("GGUF files of llama.cpp against transformers on the dequantised weights", () => {
  for (const backend of backends) {
    describe.skipIf(!backend.isAvailable)(backend.name, () => {
      let ops: Ops;
      afterEach(() => ops.close());

      test.each(types)("%s gives the recorded logits at the last position", (type) => {
        ops = backend.create();
        const { file, lastLogits } = golden.files[type]!;
        const loaded = openModel(ops, testData("models", "gguf", file));
        const { vocabSize } = loaded.model;
        for (const [index, prompt] of golden.prompts.entries()) {
          const last = promptLogits(ops, loaded, prompt).subarray(-vocabSize);
          expect(relativeError(last, Float32Array.from(lastLogits[index]!))).toBeLessThan(1e-4);
        }
      });

      test.skipIf(!backend.isNative).each(types)("%s takes the memory that its header tells", (type) => {
        ops = backend.create();
        const path = testData("models", "gguf", golden.files[type]!.file);
        const planned = planModel(openCheckpoint(path), exact).ops;
        openModel(ops, path, exact, 8);
        expect(ops.memory().weights).toBe(planned.weightBytes + 8 * planned.rotationBytesPerPosition);
      });

      test.each(types.filter((type) => type.startsWith("q") || type.startsWith("iq")))(
        "%s runs with int8 activations in blocks and says so",
        (type) => {
          ops = backend.create();
          const { file, lastLogits } = golden.files[type]!;
          const precision = { dtype: "auto", activations: "auto" } as const;
          const loaded = openModel(ops, testData("models", "gguf", file), precision);
          expect(loaded.activations).toBe("int8-block32");
          expect(loaded.notes).toHaveLength(1);
          const last = promptLogits(ops, loaded, golden.prompts[2]!).subarray(-loaded.model.vocabSize);
          expect(relativeError(last, Float32Array.from(lastLogits[2]!))).toBeLessThan(0.15);
        },
      );
    });
  }
});
