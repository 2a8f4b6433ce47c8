import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { afterAll, expect, test } from "vitest";
import { expectRefusal } from "./expect-refusal.ts";
import { makeFolder, pebble, removeFolders, runCli } from "./run-cli.ts";

afterAll(removeFolders);

const prose = "The red fox lives in the old mill. The owl has three coins. ".repeat(40);
const int4 = "{num_bits: 4, strategy: group, group_size: 32, symmetric: false, observer: mse}";

test.each([
  [
    "quantization_stage: {quantization_modifiers: {QuantizationModifier: {scheme: W8A8, ignore: [lm_head]}}}",
    ["--scheme", "w8a8", "--method", "rtn"],
  ],
  [
    `QuantizationModifier: {config_groups: {group_0: {targets: [Linear], weights: ${int4}}}, ignore: ["re:.*down_proj"]}`,
    "--scheme w4a16 --group-size 32 --asymmetric --method mse --ignore re:.*down_proj".split(" "),
  ],
  [
    `SmoothQuantModifier: {smoothing_strength: 0.5}\nGPTQModifier: {scheme: W8A8, ignore: [lm_head]}`,
    ["--scheme", "w8a8", "--method", "gptq", "--smooth"],
  ],
])(
  "a recipe gives the weights and the settings of the flags that mean the same: %s",
  async (recipe, flags) => {
    const folder = makeFolder();
    const inFolder = (name: string): string => path.join(folder, name);
    writeFileSync(inFolder("recipe.yaml"), recipe);
    writeFileSync(inFolder("text.txt"), prose);
    const calibration = ["--calibration", inFolder("text.txt"), "--calibration-size", "8x64"];
    const runs = { recipe: ["--recipe", inFolder("recipe.yaml")], flags };
    for (const [out, args] of Object.entries(runs)) {
      const run = await runCli("quantize", pebble, ...args, ...calibration, "--out", inFolder(out));
      expect(run.exitCode, run.stderr).toBe(0);
    }
    for (const file of ["model.safetensors", "config.json"])
      expect(readFileSync(path.join(inFolder("recipe"), file))).toEqual(
        readFileSync(path.join(inFolder("flags"), file)),
      );
  },
);

test("a recipe is refused beside a flag that it decides, and by the name of what is not followed", async () => {
  const folder = makeFolder();
  const recipe = path.join(folder, "recipe.yaml");
  writeFileSync(recipe, "SparseGPTModifier: {sparsity: 0.5}");
  const args = ["quantize", pebble, "--recipe", recipe, "--out", path.join(folder, "out")];
  const says = ["recipe.yaml has SparseGPTModifier", "QuantizationModifier, GPTQModifier"];
  await expectRefusal(folder, { args, code: "invalid_data_file", exitCode: 3, says });
  await expectRefusal(folder, {
    args: [...args, "--scheme", "w8a8"],
    code: "invalid_option",
    exitCode: 2,
    says: ["--scheme is given beside --recipe"],
  });
});
