import { afterEach, beforeEach, expect, it } from "vitest";
import type { Weight } from "../../src/base/weights.ts";
import type { Checkpoint, ModelWeights } from "../../src/formats/checkpoint.ts";
import { dequantize } from "../../src/formats/dequantize.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import { withWeights } from "../../src/formats/with-weights.ts";
import { createOps } from "../../src/kernels/create-ops.ts";
import type { Ops } from "../../src/kernels/ops.ts";
import { checkAnswers } from "../../src/quantize/sanity-gate.ts";
import { pebble } from "../e2e/run-cli.ts";

let base: Checkpoint;
beforeEach(() => {
  base = openCheckpoint(pebble);
});
afterEach(() => base.close());

const openOps = (): Ops => createOps({ numThreads: 2, backend: "auto" }).ops;
const down = "model.layers.0.mlp.down_proj";

/** The model with every value of one matrix changed. */
function changed(module: string, change: (value: number, index: number) => number): ModelWeights {
  const { rows, cols, ...weight } = base.linear(module);
  const values = dequantize({ rows, cols, ...weight } as Weight).map(change);
  const data = new Uint8Array(values.buffer);
  return withWeights(base, new Map([[module, { kind: "dense", rows, cols, dtype: "f32", data }]]));
}

it("lets a model pass that answers, and says on what", () => {
  const note = checkAnswers({
    written: changed(down, (value) => 1.01 * value),
    base,
    prompts: null,
    openOps,
  });
  expect(note).toMatch(/answered 2 prompts of 16 tokens with 12 tokens each; all logits were finite/);
});

it("stops a model whose logits are not finite, and one that says one token over and over", () => {
  const parts = { base, prompts: null, openOps };
  const broken = changed(down, (value, i) => (i === 77 ? Number.NaN : value));
  expect(() => checkAnswers({ ...parts, written: broken })).toThrow(
    expect.objectContaining({
      code: "model_degenerate",
      message: expect.stringMatching(/not finite/) as string,
    }),
  );
  // Without an embedding every token is the same to the model.
  const stuck = changed("model.embed_tokens", () => 0);
  const run = (): string => checkAnswers({ ...parts, written: stuck });
  expect(run).toThrow(
    expect.objectContaining({
      code: "model_degenerate",
      message: expect.stringMatching(
        /answers with token \d+ over and over; the float model does not/,
      ) as string,
    }),
  );
  // A float model that is no better is no reason to refuse its quantised form.
  expect(checkAnswers({ ...parts, written: stuck, base: stuck })).toMatch(
    /answers with token \d+ over and over; the float model is no better: it answers with token/,
  );
  // One that only repeats itself is better than one that gives no numbers.
  expect(() => checkAnswers({ ...parts, written: broken, base: stuck })).toThrow(/not finite/);
  expect(checkAnswers({ ...parts, written: broken, base: broken })).toMatch(/no better: it gives logits/);
});

it("says how long the prompts were", () => {
  const prompts = [Int32Array.of(1, 2, 3, 4, 5), Int32Array.of(5, 4, 3, 2, 1, 0)];
  const note = checkAnswers({ written: base, base, prompts, openOps });
  expect(note).toContain("2 prompts of 5 and 6 tokens");
});
