import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { openAdapter } from "../../src/formats/peft-adapter.ts";
import { type AdaptedRows, addLowRankDeltas } from "../../src/kernels/low-rank-deltas.ts";
import { mapFile } from "../../src/kernels/map-file.ts";
import { packAdapter } from "../../src/model/pack-adapter.ts";
import { attentionTargets, mergeAdapter, mlpTargets, writeAdapter } from "../lora-adapter.ts";
import { describeWithData, testData, tinyFamilies } from "../test-data.ts";
import { backends } from "./backends.ts";
import { readJson, relativeError } from "./golden-files.ts";
import { openModel, promptLogits } from "./model-runs.ts";

/** Only the order of sums differs, as between backends. */
const tolerance = 1e-5;

const rank = 5;
const scratch = mkdtempSync(path.join(os.tmpdir(), "lora-merged-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** An adapter of every linear that the family's layers have, with its own scale for the modules named `o_proj`. */
function writeFor(name: string): { readonly adapter: string; readonly merged: string } {
  const folder = testData("models", "tiny", name);
  const isMixture = /mixtral|moe/.test(name);
  const fused = ["qkv_proj", "gate_up_proj"];
  const adapter = writeAdapter(folder, path.join(scratch, name), {
    targets: [...attentionTargets, ...(isMixture ? [] : [...mlpTargets, ...fused])],
    rank,
    alpha: 8,
    seed: name.length,
    config: { alpha_pattern: { o_proj: 3 } },
  });
  const merged = mergeAdapter(folder, adapter, path.join(scratch, `${name}-merged`), (module) =>
    module.endsWith(".o_proj") ? 3 / rank : 8 / rank,
  );
  return { adapter, merged };
}

describeWithData("an adapter against the same model with the adapter merged into its weights", () => {
  test.each(tinyFamilies)("%s", (name) => {
    const { adapter, merged } = writeFor(name);
    const { prompts } = readJson<{ readonly prompts: readonly { readonly prompt: readonly number[] }[] }>(
      testData("models", "tiny", name, "golden.json"),
    );
    const { prompt } = prompts[0]!;
    for (const backend of backends.filter(({ isAvailable }) => isAvailable)) {
      const [plain, base] = [backend.create(), backend.create()];
      const expected = promptLogits(plain, openModel(plain, merged), prompt);
      const adapted: AdaptedRows[] = [];
      const loaded = openModel(addLowRankDeltas(base, adapted), testData("models", "tiny", name));
      const without = promptLogits(base, loaded, prompt);
      const deltas = packAdapter(base, loaded.adaptable, openAdapter(adapter, mapFile));
      adapted.push({
        deltas,
        rows: Int32Array.from(prompt, (_, row) => row),
        weights: new Float32Array(prompt.length).fill(1),
        count: prompt.length,
      });
      const error = relativeError(promptLogits(base, loaded, prompt), expected);
      process.stdout.write(
        `${backend.name}, ${name}: error ${error.toExponential(1)} of the logits' spread\n`,
      );
      expect(error).toBeLessThan(tolerance);
      // What is compared depends on the adapter.
      expect(relativeError(without, expected)).toBeGreaterThan(100 * tolerance);
      for (const ops of [plain, base]) ops.close();
    }
  });
});
