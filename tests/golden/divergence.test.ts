import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compareLogits } from "../../src/evaluate/divergence/compare-logits.ts";
import { summarizeDivergences } from "../../src/evaluate/divergence/summarize.ts";
import type { Ops } from "../../src/kernels/ops.ts";
import { SequenceLogits } from "../../src/model/forward-once.ts";
import { describeWithData, testData } from "../test-data.ts";
import { backends } from "./backends.ts";
import { readJson } from "./golden-files.ts";
import { openModel } from "./model-runs.ts";

const folder = (name: string): string => testData("models", "compressed-tensors", name);

/**
 * Worked out with NumPy in float64 from the logits that transformers recorded for both models (golden.safetensors), over
 * the prompts of 9 and 64 tokens.
 */
const fromRecordedLogits = {
  mean: 0.07124774773076864,
  standardError: 0.003915936229864086,
  p50: 0.06613264,
  p95: 0.13254397,
  p99: 0.1763483,
  max: 0.22678699138931446,
  agreement: 0.5352112676056338,
  a: 1152.1587880936318,
  b: 1184.6740162926212,
  ratio: 1.0282211345649594,
  ratioLow: 0.9528289913529232,
  ratioHigh: 1.1095786454449477,
};

describeWithData("w8a16 against w4a16 of a tiny model", () => {
  describe.each(backends.filter((backend) => backend.isAvailable))("$name", (backend) => {
    let ops: Ops;
    beforeAll(() => {
      ops = backend.create();
    });
    afterAll(() => ops.close());

    const sourceOf = (name: string): SequenceLogits => {
      const { model } = openModel(ops, folder(name));
      return new SequenceLogits({ ops, model, kvDtype: "f32", maxTokens: 64 });
    };

    test("gives the figures that follow from the recorded logits", async () => {
      const { prompts } = readJson<{ readonly prompts: readonly (readonly number[])[] }>(
        `${folder("w8a16-channel")}/golden.json`,
      );
      const windows = prompts.filter(({ length }) => length > 1).map((ids) => Int32Array.from(ids));
      expect(windows.map(({ length }) => length)).toEqual([9, 64]);
      const [a, b] = [sourceOf("w8a16-channel"), sourceOf("w4a16-g32")];
      const [own, found] = await compareLogits({ a: a!, others: [sourceOf("w8a16-channel"), b!], windows });
      expect(summarizeDivergences(own!).kl).toMatchObject({ mean: 0, max: 0 });
      const { numTokens, errorsOver, kl, topAgreement, perplexity } = summarizeDivergences(found!);
      expect({ numTokens, errorsOver }).toEqual({ numTokens: 71, errorsOver: "tokens" });
      for (const key of ["mean", "standardError", "p50", "p95", "p99", "max"] as const)
        expect(kl[key]! / fromRecordedLogits[key], key).toBeCloseTo(1, 3);
      expect(topAgreement.mean).toBeCloseTo(fromRecordedLogits.agreement, 12);
      for (const key of ["a", "b", "ratio", "ratioLow", "ratioHigh"] as const)
        expect(perplexity[key]! / fromRecordedLogits[key], key).toBeCloseTo(1, 4);
    });

    test("finds no difference between a model and itself, in any window", async () => {
      const windows = [Int32Array.of(3, 1, 4, 1, 5), Int32Array.from({ length: 65 }, (_, i) => i)];
      const [a, b] = [sourceOf("w4a16-g32"), sourceOf("w4a16-g32")];
      const [found] = await compareLogits({ a: a!, others: [b!], windows });
      const { kl, topAgreement, perplexity } = summarizeDivergences(found!);
      expect(kl).toMatchObject({ mean: 0, max: 0 });
      expect(topAgreement.mean).toBe(1);
      expect(perplexity).toMatchObject({ ratio: 1, ratioLow: 1, ratioHigh: 1 });
    });
  });
});
