import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Ops } from "../../src/kernels/ops.ts";
import type { LoadedModel } from "../../src/model/load-model.ts";
import { describeWithData, testData, tinyFamilies } from "../test-data.ts";
import { backends } from "./backends.ts";
import { readFloatTensors, readJson, relativeError } from "./golden-files.ts";
import { argmax, decodeLogits, openModel, promptLogits } from "./model-runs.ts";

interface Golden {
  readonly prompts: readonly {
    readonly prompt: readonly number[];
    readonly greedy: readonly number[];
    readonly firstMargins: readonly number[];
  }[];
}

/** bf16 weights are exact in f32: only the order of sums differs. */
const tolerance = 1e-4;

describeWithData("tiny models of every family against transformers in float32", () => {
  for (const backend of backends) {
    describe.skipIf(!backend.isAvailable).each(tinyFamilies)(`${backend.name}: %s`, (name) => {
      const folder = testData("models", "tiny", name);
      let ops: Ops;
      let loaded: LoadedModel;
      beforeAll(() => {
        ops = backend.create();
        loaded = openModel(ops, folder);
      });
      afterAll(() => ops.close());

      test("gives the recorded logits at every position", () => {
        const expected = readFloatTensors(`${folder}/golden.safetensors`);
        const { prompts } = readJson<Golden>(`${folder}/golden.json`);
        const errors = prompts.map(({ prompt }, index) =>
          relativeError(promptLogits(ops, loaded, prompt), expected.get(`prompt${index}.logits`)!),
        );
        const largest = Math.max(...errors);
        process.stdout.write(
          `${backend.name}, ${name}: largest logits error ${largest.toExponential(1)} of their spread\n`,
        );
        expect(largest).toBeLessThan(tolerance);
      });

      test("decodes the recorded greedy tokens wherever the gap to the second is clear", () => {
        const { prompts } = readJson<Golden>(`${folder}/golden.json`);
        let numChecked = 0;
        for (const { prompt, greedy, firstMargins } of prompts) {
          const { vocabSize } = loaded.model;
          const logits = decodeLogits(ops, loaded, [...prompt, ...greedy]);
          for (const [step, token] of greedy.entries()) {
            if (firstMargins[step]! < 1e-3) continue;
            const row = (prompt.length - 1 + step) * vocabSize;
            expect(argmax(logits.subarray(row, row + vocabSize))).toBe(token);
            numChecked += 1;
          }
        }
        expect(numChecked).toBeGreaterThan(80);
      });
    });
  }
});
