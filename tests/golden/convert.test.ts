import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Weight } from "../../src/base/weights.ts";
import { DummyCheckpoint } from "../../src/convert/dummy-checkpoint.ts";
import type { ConvertDtype, ConvertPlan } from "../../src/convert/plan.ts";
import { convertToGguf } from "../../src/convert/to-gguf.ts";
import { convertToSafetensors } from "../../src/convert/to-safetensors.ts";
import { dequantize, toDense } from "../../src/formats/dequantize.ts";
import { readGgufHeader } from "../../src/formats/gguf/header.ts";
import { readGgufTokenizer } from "../../src/formats/gguf/tokenizer.ts";
import { openCheckpoint } from "../../src/formats/open-checkpoint.ts";
import { loadTokenizerSource } from "../../src/formats/tokenizer-source.ts";
import { createReferenceOps } from "../../src/kernels/reference/reference-ops.ts";
import { describeWithData, hasTestData, repositoryPath, testData } from "../test-data.ts";
import { readTensors } from "./golden-files.ts";
import { openModel, promptLogits } from "./model-runs.ts";

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(path.join(tmpdir(), "millrace-convert-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

/** The bytes of every tensor of a GGUF file by name, behind type and shape. */
function rawTensors(file: string): Map<string, string> {
  const bytes = readFileSync(file);
  const { tensors } = readGgufHeader(file);
  return new Map(
    [...tensors.values()].map(({ name, type, shape, offset, sizeBytes }) => [
      name,
      `${type.name} ${shape.join(",")} ${bytes.toString("base64", offset, offset + sizeBytes)}`,
    ]),
  );
}

describeWithData("conversion to GGUF", () => {
  test.each(["q8_0", "q4_0", "q4_1", "q5_0", "q5_1"] as const)(
    "%s blocks are llama-quantize's, to the byte",
    async (dtype) => {
      const outPath = path.join(folder, `rounded-${dtype}.gguf`);
      const checkpoint = openCheckpoint(testData("models", "gguf", "f16.gguf"));
      await convertToGguf(checkpoint, { outPath, dtype, tokenizer: null, maxShardBytes: null });
      checkpoint.close();
      const expected = rawTensors(testData("models", "gguf", `${dtype}.gguf`));
      const own = rawTensors(outPath);
      expect([...own.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
      // llama-quantize has a head in Q6_K where the others have 4 or 5 bits; ours is Q8_0, with an embedding of the same type.
      const other = dtype === "q8_0" ? [] : ["output.weight", "token_embd.weight"];
      for (const [name, tensor] of expected)
        if (!other.includes(name)) expect(own.get(name) === tensor, name).toBe(true);
    },
  );

  test("a converted file has the tokenizer that it came with", async () => {
    const source = loadTokenizerSource(testData("models", "gguf", "f16.gguf"));
    const { tokenizerJson, tokenizerConfig } = readGgufTokenizer(
      readGgufHeader(path.join(folder, "rounded-q8_0.gguf")),
    )!;
    expect(tokenizerJson).toEqual(source.tokenizerJson);
    expect(tokenizerConfig).toEqual(source.tokenizerConfig);
  });

  test("a name that is taken is refused, and what lies there stays", async () => {
    const outPath = path.join(folder, "taken.gguf");
    cpSync(testData("models", "gguf", "q4_0.gguf"), outPath);
    const checkpoint = openCheckpoint(testData("models", "gguf", "f16.gguf"));
    await expect(
      convertToGguf(checkpoint, { outPath, dtype: "auto", tokenizer: null, maxShardBytes: null }),
    ).rejects.toThrow(/taken.gguf is there already/);
    expect(readFileSync(outPath).equals(readFileSync(testData("models", "gguf", "q4_0.gguf")))).toBe(true);
  });
});

/** Every tensor of a folder by name: type, shape and bytes. */
function storedTensors(place: string): Map<string, string> {
  const files = readdirSync(place).filter((name) => /^model.*\.safetensors$/.test(name));
  return new Map(
    files
      .flatMap((name) => readTensors(path.join(place, name)))
      .map(({ name, dtype, shape, data }) => [
        name,
        `${dtype} ${shape.join(",")} ${Buffer.from(data).toString("base64")}`,
      ]),
  );
}

/** Whether two matrices have the same values to the bit. */
function isSame(a: Weight, b: Weight): boolean {
  return Buffer.from(dequantize(a).buffer).equals(Buffer.from(dequantize(b).buffer));
}

let numConversions = 0;

/** Converts to a new place whose kind `ending` says, and returns it with what the conversion told. */
async function convertTo(source: string, ending: "" | ".gguf", more: Partial<ConvertPlan> = {}) {
  const outPath = path.join(folder, `converted-${(numConversions += 1)}${ending}`);
  const plan = { outPath, dtype: "auto", tokenizer: null, maxShardBytes: null, ...more } as const;
  const checkpoint = openCheckpoint(source);
  try {
    return await (ending === "" ? convertToSafetensors : convertToGguf)(checkpoint, plan);
  } finally {
    checkpoint.close();
  }
}

describeWithData("a round trip", () => {
  test.each(hasTestData ? readdirSync(testData("models", "tiny")) : [])(
    "of %s in bf16 through GGUF gives every tensor back to the bit",
    async (name) => {
      const source = testData("models", "tiny", name);
      const { outPath } = await convertTo((await convertTo(source, ".gguf")).outPath, "");
      expect(storedTensors(outPath)).toEqual(storedTensors(source));
    },
  );

  test("of int4 in groups of 32 through GGUF Q4_0 gives integers and scales back to the bit", async () => {
    const source = testData("models", "compressed-tensors", "w4a16-g32");
    const gguf = await convertTo(source, ".gguf");
    expect(gguf.weightFormat).toBe("GGUF Q4_0");
    const { outPath } = await convertTo(gguf.outPath, "");
    expect(storedTensors(outPath)).toEqual(storedTensors(source));
    const config = JSON.parse(readFileSync(path.join(outPath, "config.json"), "utf8")) as Record<
      string,
      unknown
    >;
    const groups = (config["quantization_config"] as { config_groups: object }).config_groups;
    expect(groups).toMatchObject({
      group_0: { format: "pack-quantized", targets: ["Linear"], weights: { num_bits: 4, group_size: 32 } },
    });
  });

  test.each(["q8_0", "q4_0"] as const)(
    "of %s linears through compressed-tensors gives blocks back",
    async (dtype) => {
      const source = (await convertTo(testData("models", "gguf", "f16.gguf"), ".gguf", { dtype })).outPath;
      const folderOf = await convertTo(source, "");
      expect(folderOf.notes).toEqual([expect.stringContaining("model.embed_tokens is an embedding")]);
      const back = rawTensors((await convertTo(folderOf.outPath, ".gguf")).outPath);
      const expected = rawTensors(source);
      for (const [name, tensor] of expected) {
        // Q6_K has no exact form with a scale of its own for each group of 32.
        if (name === "token_embd.weight" || tensor.startsWith("Q6_K")) continue;
        expect(back.get(name) === tensor, name).toBe(true);
      }
      const [own, other] = [source, folderOf.outPath].map((place) => openCheckpoint(place));
      for (const module of ["model.embed_tokens", "lm_head", "model.layers.1.self_attn.q_proj"])
        expect(dequantize(other!.linear(module)), module).toEqual(dequantize(own!.linear(module)));
    },
  );

  test("of llama-quantize's Q4_0 through compressed-tensors gives its head in Q6_K back too", async () => {
    const source = testData("models", "gguf", "q4_0.gguf");
    const back = (await convertTo((await convertTo(source, "")).outPath, ".gguf")).outPath;
    const [own, expected] = [rawTensors(back), rawTensors(source)];
    expect(expected.get("output.weight")).toMatch(/^Q6_K /);
    expect([...own.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
    // The embedding has the same values in f32.
    for (const [name, tensor] of expected)
      if (name !== "token_embd.weight") expect(own.get(name) === tensor, name).toBe(true);
    const [before, after] = [source, back].map((place) => openCheckpoint(place));
    expect(isSame(after!.linear("model.embed_tokens"), before!.linear("model.embed_tokens"))).toBe(true);
  });

  test("of W8A8 to GGUF keeps every weight and says that the activations are lost", async () => {
    const source = testData("models", "compressed-tensors", "w8a8");
    const gguf = await convertTo(source, ".gguf");
    expect(gguf.notes).toContainEqual(expect.stringContaining("int8 activations per token"));
    const [own, other] = [source, gguf.outPath].map((place) => openCheckpoint(place));
    const module = "model.layers.0.mlp.down_proj";
    expect(isSame(other!.linear(module), own!.linear(module))).toBe(true);
  });

  test("that no form holds is refused, and a type that is asked for is rounded to", async () => {
    const source = testData("models", "gguf", "q4_1.gguf");
    await expect(convertTo(source, "")).rejects.toThrow(
      /GGUF Q4_1\) has no form in compressed-tensors.*--dtype/,
    );
    const { outPath } = await convertTo(source, "", { dtype: "bfloat16" });
    const module = "model.layers.0.mlp.down_proj";
    const rounded = toDense(openCheckpoint(source).linear(module), "bf16");
    expect(isSame(openCheckpoint(outPath).linear(module), rounded)).toBe(true);
    await expect(convertTo(testData("models", "gguf", "q5_k_m.gguf"), ".gguf")).rejects.toThrow(
      /no GGUF type/,
    );
  });
});

describeWithData("a converted model in several files", () => {
  test("holds what one file holds, in both formats", async () => {
    const source = testData("models", "tiny", "llama");
    const maxShardBytes = 100_000;
    const sharded = await convertTo(source, "", { maxShardBytes });
    const files = readdirSync(sharded.outPath).filter((name) => name.endsWith(".safetensors"));
    expect(files.length).toBeGreaterThan(2);
    expect(storedTensors(sharded.outPath)).toEqual(storedTensors(source));
    const split = await convertTo(sharded.outPath, ".gguf", { maxShardBytes });
    expect(split.outPath).toMatch(/-00001-of-0000\d.gguf$/);
    expect(storedTensors((await convertTo(split.outPath, "")).outPath)).toEqual(storedTensors(source));
  });
});

const families = hasTestData ? readdirSync(testData("models", "tiny")) : [];

describeWithData("dummy weights", () => {
  test.each(families)("of %s have the names and shapes that transformers writes", (name) => {
    const source = testData("models", "tiny", name);
    const dummy = new DummyCheckpoint(path.join(source, "config.json"), 0);
    const shapes = (tensors: readonly { readonly name: string; readonly shape: readonly number[] }[]) =>
      Object.fromEntries(tensors.map((tensor) => [tensor.name, tensor.shape]));
    expect(shapes(dummy.tensors)).toEqual(shapes(readTensors(path.join(source, "model.safetensors"))));
  });

  test.each(["bfloat16", "q8_0", "q4_0"] as const)(
    "in %s give finite logits that differ by token",
    async (dtype) => {
      const file = await writeDummy(dtype, 0);
      const ops = createReferenceOps({ numThreads: 1 });
      const loaded = openModel(ops, file);
      const logits = promptLogits(ops, loaded, [1, 2, 3]);
      ops.close();
      expect(logits.every(Number.isFinite)).toBe(true);
      const last = logits.subarray(-loaded.model.vocabSize);
      const spread = Math.max(...last) - Math.min(...last);
      expect(spread).toBeGreaterThan(0.1);
      expect(spread).toBeLessThan(100);
    },
  );

  test("are the same bytes for the same seed only", async () => {
    const [first, again, other] = [1, 1, 2].map(async (seed) => readFileSync(await writeDummy("q8_0", seed)));
    expect((await first!).equals(await again!)).toBe(true);
    expect((await first!).equals(await other!)).toBe(false);
  });
});

let numDummies = 0;

async function writeDummy(dtype: ConvertDtype, seed: number): Promise<string> {
  const outPath = path.join(folder, `${(numDummies += 1)}`, "dummy.gguf");
  const checkpoint = new DummyCheckpoint(repositoryPath("models", "pebble", "model", "config.json"), seed);
  await convertToGguf(checkpoint, { outPath, dtype, tokenizer: null, maxShardBytes: null });
  expect(existsSync(`${outPath}.partial`)).toBe(false);
  return outPath;
}

describe("a dummy", () => {
  test("of an unknown architecture is refused by its name", () => {
    expect(() => new DummyCheckpoint(repositoryPath("package.json"), 0)).toThrow(/architectures/);
  });
});
