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
import { referenceSolver } from "../../src/kernels/reference/reference-solver.ts";
import { findEarlierResult } from "../../src/quantize/earlier-result.ts";
import type { QuantizePlan } from "../../src/quantize/plan.ts";
import { quantize } from "../../src/quantize/quantize.ts";
import { verifyQuantized } from "../../src/quantize/verify.ts";
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
    ["w8a8", "w8a8", { groupSize: null }],
    ["w4a16", "w4a16-g32", {}],
    ["w4a16", "w4a16-g32-asym", { symmetric: false }],
    ["w8a16", "w8a16-channel", { groupSize: null }],
  ] as const)(
    "writes the same tensors and settings for %s as llm-compressor in %s, bit for bit",
    async (scheme, reference, change) => {
      base = openCheckpoint(baseFolder);
      const manifest = await quantize(base, planOf({ scheme, ...change }));
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

  it("packs w4a8 in half of llm-compressor's bytes, with its integers and scales", async () => {
    base = openCheckpoint(baseFolder);
    await quantize(base, planOf({ scheme: "w4a8" }));
    const ours = openCheckpoint(planOf().outPath);
    const theirs = openCheckpoint(testData("models", "compressed-tensors", "w4a8-g32"));
    for (const { name } of base.named()) {
      const module = /^(.*layers.*proj)\.weight$/.exec(name)?.[1];
      if (module === undefined) continue;
      const weight = ours.linear(module) as IntegerWeight;
      expect(weight).toMatchObject({ bits: 4, groupSize: 32, activations: "int8-token" });
      expect(weight).toEqual(theirs.linear(module));
    }
    ours.close();
    theirs.close();
  });

  it.each([
    ["w4a16", true],
    ["w4a16", false],
    ["w3a16", false],
    ["w2a16", true],
    ["w8a8", true],
  ] as const)(
    "finds scales for %s (symmetric: %s) that beat plain rounding in every linear",
    async (scheme, symmetric) => {
      base = openCheckpoint(baseFolder);
      const change = { scheme, symmetric, groupSize: scheme === "w8a8" ? null : 32 };
      const plain = await quantize(base, planOf(change));
      const outPath = path.join(folder, "searched");
      const searched = await quantize(base, planOf({ ...change, method: "mse", outPath }));
      for (const [i, { relativeError }] of searched.tensors.entries()) {
        expect(relativeError).toBeLessThan(plain.tensors[i]!.relativeError);
      }
    },
  );

  it("reads an int8 head that is tied to the embedding under both names", async () => {
    base = openCheckpoint(testData("models", "tiny", "gemma2"));
    expect(base.config.tieWordEmbeddings).toBe(true);
    const manifest = await quantize(base, planOf({ head: "int8" }));
    expect(manifest.head).toMatchObject({ module: "model.embed_tokens", form: "int8" });
    const written = openCheckpoint(planOf().outPath);
    expect(written.named().map(({ name }) => name)).not.toContain("model.embed_tokens.weight");
    const head = written.linear("lm_head") as IntegerWeight;
    expect(head).toMatchObject({ bits: 8, groupSize: head.cols, activations: "unspecified" });
    expect(written.linear("model.embed_tokens")).toEqual(head);
    const before = dequantize(base.linear("model.embed_tokens"));
    const after = dequantize(head);
    for (const [i, value] of before.entries()) {
      const scale = head.scales[Math.floor(i / head.cols)]!;
      expect(Math.abs(value - after[i]!)).toBeLessThanOrEqual(0.78 * scale);
    }
    written.close();
  });

  it("writes an int8 head beside the embedding where they are not tied", async () => {
    base = openCheckpoint(baseFolder);
    const manifest = await quantize(base, planOf({ head: "int8", scheme: "w8a8", groupSize: null }));
    expect(manifest.dense.map(({ name }) => name)).toEqual(["model.embed_tokens"]);
    const written = openCheckpoint(planOf().outPath);
    expect(written.linear("lm_head")).toMatchObject({ bits: 8, activations: "unspecified" });
    expect(written.linear("model.layers.0.mlp.up_proj")).toMatchObject({ activations: "int8-token" });
    expect(written.linear("model.embed_tokens")).toEqual(base.linear("model.embed_tokens"));
    written.close();
  });

  it("keeps dense what --ignore names, and says so in config.json", async () => {
    base = openCheckpoint(baseFolder);
    const ignore = ["re:.*down_proj", "model.layers.1.self_attn.o_proj"];
    const manifest = await quantize(base, planOf({ ignore }));
    const dense = manifest.dense.map(({ name }) => name);
    const ignored = ["model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj", ignore[1]];
    expect(dense).toEqual(expect.arrayContaining(ignored));
    const written = openCheckpoint(planOf().outPath);
    expect(written.linear(ignore[1]!)).toEqual(base.linear(ignore[1]!));
    expect(written.linear("model.layers.0.mlp.up_proj").kind).toBe("integer");
    written.close();
  });

  it.each([
    [["re:.*nothing"], /re:\.\*nothing finds no linear; there is model\.layers\.0/],
    [["re:.*k_proj"], /k_proj runs as one linear with .*[qv]_proj/],
    [["re:.*"], /leaves no linear/],
  ])("refuses --ignore %j", async (ignore, message) => {
    base = openCheckpoint(baseFolder);
    await expect(quantize(base, planOf({ ignore }))).rejects.toMatchObject({
      code: "invalid_option",
      message: expect.stringMatching(message) as string,
    });
    expect(readdirSync(folder)).toEqual([]);
  });

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

  it("verifies what it wrote, and finds a changed scale and a file of another hash", async () => {
    base = openCheckpoint(baseFolder);
    const { outPath } = planOf();
    await quantize(base, planOf({ symmetric: false }));
    await expect(
      verifyQuantized(outPath, openCheckpoint, { solver: referenceSolver }),
    ).resolves.toMatchObject({
      scheme: "w4a16",
    });
    const file = path.join(outPath, "model.safetensors");
    const bytes = readFileSync(file);
    const { offset } = readSafetensorsHeader(file).entries.get("model.layers.1.mlp.up_proj.weight_scale")!;
    bytes[offset] = bytes[offset]! ^ 1;
    writeFileSync(file, bytes);
    await expect(verifyQuantized(outPath, openCheckpoint, { solver: referenceSolver })).rejects.toMatchObject(
      {
        code: "invalid_model_file",
        message: expect.stringMatching(/model\.safetensors has the hash .*its manifest says/) as string,
      },
    );
    writeFileSync(file, bytes.with(offset, bytes[offset]! ^ 1));
    const config = readFileSync(path.join(outPath, "config.json"), "utf8");
    writeFileSync(
      path.join(outPath, "config.json"),
      config.replace(/"rope_theta": [\d.]+/, '"rope_theta": 77'),
    );
    await expect(verifyQuantized(outPath, openCheckpoint, { solver: referenceSolver })).rejects.toMatchObject(
      { message: expect.stringMatching(/config\.json has the hash/) as string },
    );
    writeFileSync(path.join(outPath, "config.json"), config);
    writeFileSync(file, bytes);
    const manifestFile = path.join(outPath, "millrace-manifest.json");
    const manifest = JSON.parse(readFileSync(manifestFile, "utf8")) as { files: { sha256: string }[] };
    manifest.files[0]!.sha256 = hashOf(file);
    writeFileSync(manifestFile, JSON.stringify(manifest));
    await expect(verifyQuantized(outPath, openCheckpoint, { solver: referenceSolver })).rejects.toMatchObject(
      {
        code: "invalid_model_file",
        message: expect.stringMatching(
          /other values in model\.layers\.1\.mlp\.up_proj than were written/,
        ) as string,
      },
    );
    await expect(
      verifyQuantized(baseFolder, openCheckpoint, { solver: referenceSolver }),
    ).rejects.toMatchObject({
      code: "file_not_found",
    });
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
    [{ scheme: "w8a8", groupSize: null, symmetric: false }, /8-bit weights, which take no zero points/],
    [{ scheme: "w5a16" as "w4a16" }, /no scheme "w5a16".*w8a8, w4a16/],
  ] as const)("refuses what does not fit: %o", async (change, message) => {
    base = openCheckpoint(baseFolder);
    await expect(quantize(base, planOf(change))).rejects.toMatchObject({
      code: "invalid_scheme",
      message: expect.stringMatching(message) as string,
    });
    expect(readdirSync(folder)).toEqual([]);
  });

  it("refuses a model of which only some linears are integers", async () => {
    base = openCheckpoint(baseFolder);
    await quantize(base, planOf({ ignore: ["re:.*down_proj"] }));
    const some = openCheckpoint(planOf().outPath);
    const again = planOf({ outPath: path.join(folder, "again") });
    await expect(quantize(some, again)).rejects.toMatchObject({
      code: "already_quantized",
      message: expect.stringMatching(/integer weights .*gate_proj among them/) as string,
    });
    some.close();
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
    expect(readdirSync(outPath)).not.toContain("mine.txt");
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
