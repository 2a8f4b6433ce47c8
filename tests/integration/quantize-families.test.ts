import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import { createOps } from "../../src/kernels/create-ops.ts";
import type { QuantizePlan } from "../../src/quantize/plan.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import { readFloatTensors, readJson } from "../golden/golden-files.ts";
import { openModel, promptLogits } from "../golden/model-runs.ts";
import { describeWithData, testData, tinyFamilies } from "../test-data.ts";

interface Golden {
  readonly prompts: readonly { readonly prompt: readonly number[] }[];
}

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describeWithData("a model of every family, quantised", () => {
  test.each(tinyFamilies)("%s to w8a8 runs close to its float weights", async (family) => {
    const source = testData("models", "tiny", family);
    const outPath = path.join(folder, "out");
    const checkpoint = openCheckpoint(source);
    const manifest = await quantize(checkpoint, { scheme: "w8a8", groupSize: null, dtype: "auto", outPath });
    checkpoint.close();
    expect(manifest.tensors.length).toBeGreaterThan(0);
    const { ops } = createOps({ numThreads: 2, backend: "auto" });
    try {
      const loaded = openModel(ops, outPath, { dtype: "auto", activations: "auto" });
      expect(loaded.activations).toContain("int8-token");
      const { prompts } = readJson<Golden>(`${source}/golden.json`);
      const logits = promptLogits(ops, loaded, prompts[2]!.prompt);
      const expected = readFloatTensors(`${source}/golden.safetensors`).get("prompt2.logits")!;
      const error = typicalError(logits, expected);
      expect(error).toBeGreaterThan(1e-4);
      // A token whose experts stand close goes to others once activations are rounded.
      const hasExperts = checkpoint.config.experts !== null;
      expect(error).toBeLessThan(hasExperts ? 0.4 : 0.1);
    } finally {
      ops.close();
    }
  });
});

const schemes: readonly (readonly [string, Partial<QuantizePlan>])[] = [
  ["w4a16", { symmetric: false, method: "mse" }],
  ["w4a8", { method: "estimate" }],
  ["w8a16", {}],
  ["w3a16", { method: "mse" }],
  ["w2a16", { symmetric: false }],
  ["w8a8 and head", { head: "int8", scheme: "w8a8", groupSize: null }],
  ["w4a16 and head", { head: "int8", groupSize: 32 }],
];

describeWithData("every scheme", () => {
  // Tied and not, soft caps, biases, and widths that are no multiple of 128.
  const families = ["llama", "gemma2", "qwen2"];
  const cases = families.flatMap((family) =>
    schemes.map(([name, change]) => [family, name, change] as const),
  );
  test.each(cases)("%s in %s has the logits of its dequantised weights", async (family, name, change) => {
    const outPath = path.join(folder, "out");
    const checkpoint = openCheckpoint(testData("models", "tiny", family));
    const scheme = name.slice(0, 5).trim() as QuantizePlan["scheme"];
    const groupSize = scheme === "w8a16" ? null : 32;
    await quantize(checkpoint, { scheme, groupSize, dtype: "auto", outPath, ...change });
    checkpoint.close();
    const { ops } = createOps({ numThreads: 2, backend: "auto" });
    try {
      const prompt = Array.from({ length: 40 }, (_, i) => (i * 37) % 500);
      const [integers, floats] = (["auto", "float32"] as const).map((dtype) =>
        promptLogits(ops, openModel(ops, outPath, { dtype, activations: "f32" }), prompt),
      );
      expect(typicalError(integers!, floats!)).toBeLessThan(1e-4);
    } finally {
      ops.close();
    }
  });
});

/** Root mean square difference relative to the spread (standard deviation) of the expected logits. */
function typicalError(actual: Float32Array, expected: Float32Array): number {
  const mean = expected.reduce((sum, x) => sum + x, 0) / expected.length;
  let squares = 0;
  let spread = 0;
  for (const [i, x] of expected.entries()) {
    squares += (actual[i]! - x) ** 2;
    spread += (x - mean) ** 2;
  }
  return Math.sqrt(squares / spread);
}
