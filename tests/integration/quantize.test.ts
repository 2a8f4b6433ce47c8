import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import type { IntegerWeight } from "../../src/base/weights.ts";
import type { Checkpoint } from "../../src/formats/checkpoint.ts";
import { dequantize } from "../../src/formats/dequantize.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import { readSafetensorsHeader } from "../../src/formats/safetensors.ts";
import type { QuantizePlan } from "../../src/quantize/plan.ts";
import { findEarlierResult, quantize } from "../../src/quantize/quantize.ts";
import { quantizationManifestSchema } from "../../src/records/quantization-manifest.ts";
import { describeWithData, testData } from "../test-data.ts";

const baseFolder = testData("models", "compressed-tensors", "base");

let folder = "";
let base: Checkpoint;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-"));
});
afterEach(() => {
  base?.close();
  rmSync(folder, { recursive: true });
});

function planOf(change: Partial<QuantizePlan> = {}): QuantizePlan {
  return { scheme: "w4a16", groupSize: 32, dtype: "auto", outPath: path.join(folder, "out"), ...change };
}

/** Tensor name → type, shape and hash of its bytes. */
function tensorsOf(file: string): Record<string, string> {
  const bytes = readFileSync(file);
  const entries = [...readSafetensorsHeader(file).entries.values()];
  return Object.fromEntries(
    entries.map(({ name, dtype, shape, offset, sizeBytes }) => {
      const hash = createHash("sha256")
        .update(bytes.subarray(offset, offset + sizeBytes))
        .digest("hex");
      return [name, `${dtype} [${shape.join(", ")}] ${hash}`];
    }),
  );
}

const hashOf = (file: string): string => createHash("sha256").update(readFileSync(file)).digest("hex");

describeWithData("quantize", () => {
  it.each([
    ["w8a8", "w8a8", null],
    ["w4a16", "w4a16-g32", 32],
  ] as const)(
    "writes the same tensors and settings for %s as llm-compressor, bit for bit",
    async (scheme, reference, groupSize) => {
      base = openCheckpoint(baseFolder);
      const manifest = await quantize(base, planOf({ scheme, groupSize }));
      const theirs = testData("models", "compressed-tensors", reference);
      const ours = planOf().outPath;
      expect(tensorsOf(path.join(ours, "model.safetensors"))).toEqual(
        tensorsOf(path.join(theirs, "model.safetensors")),
      );
      expect(hashOf(path.join(ours, "model.safetensors"))).toBe(
        hashOf(path.join(theirs, "model.safetensors")),
      );
      const readConfig = (where: string): unknown =>
        JSON.parse(readFileSync(path.join(where, "config.json"), "utf8"));
      expect(readConfig(ours)).toEqual(readConfig(theirs));
      expect(manifest.tensors).toHaveLength(14);
      expect(
        quantizationManifestSchema.parse(
          JSON.parse(readFileSync(path.join(ours, "millrace-manifest.json"), "utf8")),
        ),
      ).toEqual(manifest);
    },
  );

  it.each([
    ["w3a16", 0.1, 0.35],
    ["w2a16", 0.35, 0.8],
  ] as const)("writes %s so that the reader finds what was rounded", async (scheme, least, most) => {
    base = openCheckpoint(baseFolder);
    const manifest = await quantize(base, planOf({ scheme }));
    const written = openCheckpoint(planOf().outPath);
    for (const { name, relativeError } of manifest.tensors) {
      const before = dequantize(base.linear(name));
      const weight = written.linear(name) as IntegerWeight;
      expect([weight.kind, weight.bits, weight.groupSize]).toEqual(["integer", 4, 32]);
      const after = dequantize(weight);
      let error = 0;
      let size = 0;
      for (const [i, value] of before.entries()) {
        error += (value - after[i]!) ** 2;
        size += value ** 2;
      }
      expect(Math.sqrt(error / size)).toBeCloseTo(relativeError, 6);
      expect(relativeError).toBeGreaterThan(least);
      expect(relativeError).toBeLessThan(most);
    }
    expect(written.linear("lm_head")).toEqual(base.linear("lm_head"));
    expect(written.vector("model.norm.weight")).toEqual(base.vector("model.norm.weight"));
    written.close();
  });

  it("gives the same weight bytes in every run, and knows its own finished result", async () => {
    base = openCheckpoint(baseFolder);
    const plan = planOf();
    await quantize(base, plan);
    await quantize(base, planOf({ outPath: path.join(folder, "again") }));
    expect(hashOf(path.join(folder, "again", "model.safetensors"))).toBe(
      hashOf(path.join(folder, "out", "model.safetensors")),
    );
    expect(await findEarlierResult(base, plan)).toMatchObject({
      manifest: { scheme: "w4a16", groupSize: 32 },
      isCurrent: true,
    });
    expect(await findEarlierResult(base, planOf({ scheme: "w3a16" }))).toBeNull();
    expect(await findEarlierResult(base, planOf({ outPath: path.join(folder, "none") }))).toBeNull();
  });

  it("makes a result again that another build made, or that is not whole", async () => {
    base = openCheckpoint(baseFolder);
    const plan = planOf();
    await quantize(base, plan);
    const manifestFile = path.join(plan.outPath, "millrace-manifest.json");
    const manifest = JSON.parse(readFileSync(manifestFile, "utf8")) as { origin: { build: string } };
    manifest.origin.build = "another";
    writeFileSync(manifestFile, JSON.stringify(manifest));
    expect(await findEarlierResult(base, plan)).toMatchObject({ isCurrent: false });
    await quantize(base, { ...plan, replaceEarlier: true });
    expect(await findEarlierResult(base, plan)).toMatchObject({ isCurrent: true });
    rmSync(path.join(plan.outPath, "model.safetensors"));
    expect(await findEarlierResult(base, plan)).toMatchObject({ isCurrent: false });
  });

  it("chooses the largest group that fits every linear and says so", async () => {
    // Input widths are 128 and 288: only 32 divides both.
    base = openCheckpoint(baseFolder);
    const manifest = await quantize(base, planOf({ groupSize: null }));
    expect(manifest.groupSize).toBe(32);
    expect(manifest.notes.join()).toContain("Group size 32");
  });

  it.each([
    [{ groupSize: 64 }, /down_proj has 288 input columns.*fit this model: 32/],
    [{ groupSize: 48 }, /48 is not one of 128, 64 and 32/],
    [{ scheme: "w8a8", groupSize: 32 }, /one scale per output channel/],
    [{ scheme: "w5a16" as "w4a16" }, /no scheme "w5a16".*w8a8, w4a16/],
  ] as const)("refuses what does not fit: %o", async (change, message) => {
    base = openCheckpoint(baseFolder);
    await expect(quantize(base, planOf(change))).rejects.toMatchObject({
      code: "invalid_scheme",
      message: expect.stringMatching(message) as string,
    });
    expect(readdirSync(folder)).toEqual([]);
  });

  it("refuses integer weights, and takes them when they may be rounded to floats first", async () => {
    base = openCheckpoint(testData("models", "gguf", "q4_1.gguf"));
    await expect(quantize(base, planOf())).rejects.toMatchObject({ code: "already_quantized" });
    const manifest = await quantize(base, planOf({ dtype: "bfloat16", groupSize: null }));
    expect(manifest.groupSize).toBe(128);
    const files = readdirSync(planOf().outPath).toSorted();
    expect(files).toEqual(
      expect.arrayContaining([
        "config.json",
        "millrace-manifest.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
      ]),
    );
    const written = openCheckpoint(planOf().outPath);
    expect(written.tokenizer()?.tokenizerJson).toEqual(base.tokenizer()?.tokenizerJson);
    expect(written.config.numLayers).toBe(base.config.numLayers);
    expect(manifest.tensors).toHaveLength(7 * base.config.numLayers);
    written.close();
  });

  it("quantises experts and keeps routers dense", async () => {
    base = openCheckpoint(testData("models", "tiny", "mixtral"));
    const manifest = await quantize(base, planOf());
    expect(manifest.dense.map((tensor) => tensor.name)).toContain("model.layers.0.block_sparse_moe.gate");
    const config = JSON.parse(readFileSync(path.join(planOf().outPath, "config.json"), "utf8")) as {
      quantization_config: { ignore: string[] };
    };
    expect(config.quantization_config.ignore).toEqual(
      expect.arrayContaining(["lm_head", "model.layers.0.block_sparse_moe.gate"]),
    );
  });

  it("touches no folder that holds something else, and clears what an interrupted run left", async () => {
    base = openCheckpoint(baseFolder);
    const { outPath } = planOf();
    mkdirSync(`${outPath}.partial`);
    writeFileSync(path.join(`${outPath}.partial`, "mine.txt"), "keep");
    await expect(quantize(base, planOf())).rejects.toMatchObject({ code: "output_exists" });
    writeFileSync(path.join(`${outPath}.partial`, ".millrace-partial"), "");
    await quantize(base, planOf());
    expect(existsSync(`${outPath}.partial`)).toBe(false);
    await expect(quantize(base, planOf())).rejects.toMatchObject({
      code: "output_exists",
      message: expect.stringMatching(/ already holds files\. A new or empty folder/),
    });
  });

  it.each([
    ["a linear", "model.layers.1.mlp.up_proj", 130],
    ["the embedding", "model.embed_tokens", 7],
    ["a norm", "model.norm.weight", 3],
  ])("refuses %s with a value that is not finite", async (_, name, element) => {
    const damaged = path.join(folder, "damaged");
    cpSync(baseFolder, damaged, { recursive: true });
    const file = path.join(damaged, "model.safetensors");
    const { entries } = readSafetensorsHeader(path.join(baseFolder, "model.safetensors"));
    const place = entries.get(name) ?? entries.get(`${name}.weight`)!;
    const bytes = readFileSync(file);
    bytes.writeUInt16LE(0x7fc0, place.offset + 2 * element);
    bytes.writeUInt16LE(0xff80, place.offset + 2 * element + 2);
    rmSync(file, { force: true });
    writeFileSync(file, bytes);
    base = openCheckpoint(damaged);
    await expect(quantize(base, planOf())).rejects.toMatchObject({
      code: "model_not_finite",
      message: expect.stringMatching(
        new RegExp(`^${name} holds 2 of \\d+ values that are NaN or infinite .*NaN, element ${element}`),
      ) as string,
    });
    expect(existsSync(planOf().outPath)).toBe(false);
  });
});
