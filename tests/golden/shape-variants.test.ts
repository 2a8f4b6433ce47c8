import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import type { Ops, RaggedBatch } from "../../src/kernels/ops.ts";
import { loadEncoder } from "../../src/model/load-model.ts";
import { repositoryPath } from "../test-data.ts";
import { backends } from "./backends.ts";
import { writeFormulaModel } from "./formula-weights.ts";
import { readJson } from "./golden-files.ts";
import { exact, openModel, promptLogits } from "./model-runs.ts";

// Sizes, head counts, windows and biases that the recorded tiny models do not have, against transformers 5.24.

interface Variant {
  readonly name: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly shapes: Readonly<Record<string, readonly number[]>>;
  /** Standard deviation of all values. */
  readonly spread: number;
  /** Some rows of the result, by number. */
  readonly rows: Readonly<Record<string, readonly number[]>>;
}

interface Recorded {
  readonly prompt: readonly number[];
  readonly models: readonly Variant[];
  readonly bert: Omit<Variant, "name">;
}

const { prompt, models, bert } = readJson<Recorded>(
  repositoryPath("tests", "golden", "recorded", "shape-variants.json"),
);

let folder = "";
let ops: Ops;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-shapes-"));
});
afterEach(() => {
  ops.close();
  rmSync(folder, { recursive: true });
});

function expectRows(actual: Float32Array, { spread, rows }: Omit<Variant, "name">): void {
  const width = actual.length / prompt.length;
  for (const [row, expected] of Object.entries(rows)) {
    const start = Number(row) * width;
    const error = expected.reduce((most, x, i) => Math.max(most, Math.abs(actual[start + i]! - x)), 0);
    expect(error / spread, `row ${row}`).toBeLessThan(1e-4);
  }
}

for (const backend of backends) {
  describe.skipIf(!backend.isAvailable)(`other shapes of every family on ${backend.name}`, () => {
    test.each(models.map((model) => [model.name, model] as const))("%s", (name, variant) => {
      writeFormulaModel(folder, variant.config, variant.shapes, name.startsWith("gemma") ? 0 : 1);
      ops = backend.create();
      expectRows(promptLogits(ops, openModel(ops, folder), prompt), variant);
    });

    test("bert", () => {
      writeFormulaModel(folder, bert.config, bert.shapes, 1);
      ops = backend.create();
      const checkpoint = openCheckpoint(folder);
      const { model } = loadEncoder(ops, checkpoint, exact);
      checkpoint.close();
      const cache = ops.createKvCache({ ...model.kvShape, numBlocks: 3, blockSize: 16, dtype: "f32" });
      const batch = oneText(prompt);
      ops.beginStep(batch);
      const hidden = new Float32Array(prompt.length * model.hiddenSize);
      ops.read(model.forward(batch, cache), hidden);
      ops.endStep();
      expectRows(hidden, bert);
    });
  });
}

function oneText(tokens: readonly number[]): RaggedBatch {
  const positions = Int32Array.from(tokens.keys());
  return {
    numTokens: tokens.length,
    numSeqs: 1,
    tokenIds: Int32Array.from(tokens),
    positions,
    slots: positions,
    queryStarts: Int32Array.of(0, tokens.length),
    contextLengths: Int32Array.of(tokens.length),
    blockTables: Int32Array.of(0, 1, 2),
    blockTableStride: 3,
  };
}
