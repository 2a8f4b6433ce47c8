import { afterEach, describe, expect, test } from "vitest";
import type { Ops } from "../../src/kernels/ops.ts";
import { describeWithData, hasTestData, testData } from "../test-data.ts";
import { backends } from "./backends.ts";
import { readJson, relativeError } from "./golden-files.ts";
import { openModel, promptLogits } from "./model-runs.ts";

interface Golden {
  readonly prompts: readonly (readonly number[])[];
  readonly files: Readonly<
    Record<string, { readonly file: string; readonly lastLogits: readonly number[][] }>
  >;
}

const golden: Golden = hasTestData
  ? readJson<Golden>(testData("models", "gguf", "golden.json"))
  : { prompts: [], files: {} };

/** Files whose tensor types are read. */
const types = ["f16", "bf16", "q8_0", "q4_0", "q4_1", "q6_k"];

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

      test.each(["q8_0", "q4_0", "q4_1", "q6_k"])(
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
