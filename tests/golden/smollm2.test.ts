import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Ops } from "../../src/kernels/ops.ts";
import type { LoadedModel } from "../../src/model/load-model.ts";
import { describeWithData, hasTestData, testData } from "../test-data.ts";
import { backends } from "./backends.ts";
import { readJson } from "./golden-files.ts";
import { argmax, logSoftmax, openModel, promptLogits } from "./model-runs.ts";

interface Golden {
  readonly prompts: readonly {
    readonly ids: readonly number[];
    readonly promptLogprobs: readonly number[];
    readonly greedy: readonly number[];
    readonly steps: readonly { readonly ids: readonly number[]; readonly logprobs: readonly number[] }[];
  }[];
}

const modelPath = testData("models", "smollm2-135m-instruct-q4_1.gguf");
const golden: Golden = hasTestData
  ? readJson<Golden>(testData("models", "smollm2-135m-instruct.golden.json"))
  : { prompts: [] };

/** Recorded values have five decimals; the rest is the order of f32 sums. */
const logprobTolerance = 2e-4;

interface Run {
  readonly backend: string;
  readonly prompts: Golden["prompts"];
}

describeWithData("SmolLM2-135M-Instruct against transformers in float32", () => {
  for (const backend of backends) {
    // Plain TypeScript takes seconds for each prompt: one is enough to hold it to the record.
    const prompts = backend.isNative ? golden.prompts : golden.prompts.slice(0, 1);
    const run: Run = { backend: backend.name, prompts };

    describe.skipIf(!backend.isAvailable)(`${run.backend}, bf16 weights and f32 activations`, () => {
      let ops: Ops;
      let loaded: LoadedModel;
      beforeAll(() => {
        ops = backend.create();
        loaded = openModel(ops, modelPath, { dtype: "bfloat16", activations: "f32" });
      });
      afterAll(() => ops.close());

      test("gives the recorded log-probabilities and, at each clear step, the recorded token", () => {
        const { vocabSize } = loaded.model;
        let numClear = 0;
        let largest = 0;
        for (const { ids, promptLogprobs, greedy, steps } of run.prompts) {
          const tokens = [...ids, ...greedy];
          const logits = promptLogits(ops, loaded, tokens.slice(0, -1));
          const row = (index: number): Float32Array =>
            logits.subarray(index * vocabSize, (index + 1) * vocabSize);
          for (const [index, expected] of promptLogprobs.entries()) {
            const actual = logSoftmax(row(index))[ids[index + 1]!]!;
            largest = Math.max(largest, Math.abs(actual - expected));
          }
          for (const [step, recorded] of steps.entries()) {
            const rowLogits = row(ids.length - 1 + step);
            const logprobs = logSoftmax(rowLogits);
            for (const [rank, id] of recorded.ids.entries()) {
              largest = Math.max(largest, Math.abs(logprobs[id]! - recorded.logprobs[rank]!));
            }
            if (recorded.logprobs[0]! - recorded.logprobs[1]! <= 0.02) continue;
            expect(argmax(rowLogits)).toBe(greedy[step]);
            numClear += 1;
          }
        }
        process.stdout.write(
          `${run.backend}: largest log-probability error ${largest.toExponential(1)}, ${numClear} clear steps equal\n`,
        );
        expect(largest).toBeLessThan(logprobTolerance);
        expect(numClear).toBeGreaterThan(40 * run.prompts.length);
      });
    });

    // The reference would need minutes for this many tokens.
    describe.skipIf(!backend.isAvailable || !backend.isNative)(
      `${run.backend}, the file's 4-bit weights`,
      () => {
        test("an int8 KV cache stays close to an f16 one: mean KL at most 0.001, same top-1 in 98 %", () => {
          const ops = backend.create();
          try {
            const loaded = openModel(ops, modelPath, { dtype: "auto", activations: "f32" });
            const total = { divergence: 0, agreements: 0, rows: 0 };
            for (const { ids, greedy } of golden.prompts) {
              const tokens = [...ids, ...greedy];
              const f16 = promptLogits(ops, loaded, tokens, "f16");
              compareRows(f16, promptLogits(ops, loaded, tokens, "int8"), total);
            }
            const { divergence, agreement } = meansOf(`${run.backend}: int8 KV against f16`, total);
            expect(divergence).toBeLessThanOrEqual(0.001);
            expect(agreement).toBeGreaterThanOrEqual(0.98);
          } finally {
            ops.close();
          }
        });

        test("bf16 products of attention stay close to f32 ones: mean KL at most 0.0002, same top-1 in 99 %", () => {
          const [exact, rounded] = [backend.create("f32"), backend.create("bf16")];
          try {
            const total = { divergence: 0, agreements: 0, rows: 0 };
            const [a, b] = [exact, rounded].map((ops) =>
              openModel(ops, modelPath, { dtype: "auto", activations: "f32" }),
            );
            for (const { ids, greedy } of golden.prompts) {
              const tokens = [...ids, ...greedy];
              compareRows(promptLogits(exact, a!, tokens), promptLogits(rounded, b!, tokens), total);
            }
            const { divergence, agreement } = meansOf(
              `${run.backend}: bf16 products of attention against f32`,
              total,
            );
            expect(divergence).toBeGreaterThan(0);
            expect(divergence).toBeLessThanOrEqual(0.0002);
            expect(agreement).toBeGreaterThanOrEqual(0.99);
          } finally {
            exact.close();
            rounded.close();
          }
        });

        test("int8 activations in blocks stay close to f32 ones: mean KL at most 0.004, same top-1 in 94 %", () => {
          const ops = backend.create();
          try {
            const exactModel = openModel(ops, modelPath, { dtype: "auto", activations: "f32" });
            const fastModel = openModel(ops, modelPath, { dtype: "auto", activations: "auto" });
            expect(fastModel.activations).toBe("int8-block32");
            const total = { divergence: 0, agreements: 0, rows: 0 };
            for (const { ids, greedy } of golden.prompts) {
              const tokens = [...ids, ...greedy];
              compareRows(promptLogits(ops, exactModel, tokens), promptLogits(ops, fastModel, tokens), total);
            }
            const { divergence, agreement } = meansOf(`${run.backend}: int8-block32 against f32`, total);
            expect(divergence).toBeLessThanOrEqual(0.004);
            expect(agreement).toBeGreaterThanOrEqual(0.94);
          } finally {
            ops.close();
          }
        });
      },
    );
  }
});

const vocabSize = 49_152;

interface Totals {
  divergence: number;
  agreements: number;
  rows: number;
}

/** Mean KL and share of equal top-1 tokens, printed as well. */
function meansOf(label: string, { divergence, agreements, rows }: Totals) {
  const means = { divergence: divergence / rows, agreement: agreements / rows };
  process.stdout.write(
    `${label}: mean KL ${means.divergence.toFixed(5)}, same top-1 ${(100 * means.agreement).toFixed(1)} % of ${rows} rows\n`,
  );
  return means;
}

/** Adds KL(exact ‖ fast) and top-1 agreement of each row of logits [rows, vocabSize] to `total`. */
function compareRows(exact: Float32Array, fast: Float32Array, total: Totals): void {
  for (let start = 0; start < exact.length; start += vocabSize) {
    const p = exact.subarray(start, start + vocabSize);
    const q = fast.subarray(start, start + vocabSize);
    const logP = logSoftmax(p);
    const logQ = logSoftmax(q);
    for (let id = 0; id < vocabSize; id += 1)
      total.divergence += Math.exp(logP[id]!) * (logP[id]! - logQ[id]!);
    if (argmax(p) === argmax(q)) total.agreements += 1;
    total.rows += 1;
  }
}
