import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { buildGguf, f32, text, u32 } from "../../../tests/gguf-builder.ts";
import { describeWithData, testData } from "../../../tests/test-data.ts";
import { dequantize } from "../dequantize.ts";
import { openCheckpoint } from "../open-checkpoint.ts";
import { readBlocks } from "./blocks.ts";
import { readGgufHeader } from "./header.ts";
import { unpermuteRows } from "./row-order.ts";

interface Golden {
  readonly files: Record<
    string,
    {
      readonly file: string;
      readonly tensors: Record<string, { type: string; shape: number[]; sha256: string }>;
    }
  >;
}

describeWithData("a GGUF file of the llama family", () => {
  const golden = JSON.parse(readFileSync(testData("models", "gguf", "golden.json"), "utf8")) as Golden;

  it.each(["f16", "bf16", "q8_0", "q4_0", "q4_1", "q6_k"])(
    "%s dequantises as gguf-py does, to the bit",
    (name) => {
      const { file, tensors } = golden.files[name]!;
      const header = readGgufHeader(testData("models", "gguf", file));
      const bytes = readFileSync(header.path);
      expect([...header.tensors.keys()].toSorted()).toEqual(Object.keys(tensors).toSorted());
      for (const [tensorName, expected] of Object.entries(tensors)) {
        const tensor = header.tensors.get(tensorName)!;
        expect([tensor.type.name, tensor.shape]).toEqual([expected.type, expected.shape]);
        const data = new Uint8Array(bytes.subarray(tensor.offset, tensor.offset + tensor.sizeBytes));
        const [rows, cols] =
          tensor.shape.length === 1 ? [1, tensor.shape[0]!] : (tensor.shape as [number, number]);
        const values = dequantize(readBlocks({ type: tensor.type.name, rows, cols, data })!);
        const hash = createHash("sha256").update(new Uint8Array(values.buffer)).digest("hex");
        expect(hash, tensorName).toBe(expected.sha256);
      }
    },
  );

  it("is read under Hugging Face names, q and k rows in rotate-half order", () => {
    const checkpoint = openCheckpoint(testData("models", "gguf", "q4_0.gguf"));
    const { config } = checkpoint;
    expect(config).toMatchObject({
      architecture: "LlamaForCausalLM",
      hiddenSize: 256,
      headDim: 32,
      rmsNormEps: 1e-5,
    });
    const values = dequantize(checkpoint.linear("model.layers.1.self_attn.k_proj"));
    const header = readGgufHeader(checkpoint.path);
    const tensor = header.tensors.get("blk.1.attn_k.weight")!;
    const data = new Uint8Array(
      readFileSync(checkpoint.path).subarray(tensor.offset, tensor.offset + tensor.sizeBytes),
    );
    const stored = dequantize(readBlocks({ type: "Q4_0", rows: 64, cols: 256, data })!);
    for (const head of [0, 1]) {
      for (const half of [0, 1]) {
        for (let pair = 0; pair < 16; pair += 1) {
          const ours = head * 32 + half * 16 + pair;
          const theirs = head * 32 + 2 * pair + half;
          expect(values.subarray(ours * 256, ours * 256 + 256)).toEqual(
            stored.subarray(theirs * 256, theirs * 256 + 256),
          );
        }
      }
    }
  });

  it("gives the tied embedding as the head of a file without output.weight", () => {
    const checkpoint = openCheckpoint(testData("models", "smollm2-135m-instruct-q4_1.gguf"));
    expect(checkpoint.config).toMatchObject({
      numLayers: 30,
      headDim: 64,
      vocabSize: 49152,
      tieWordEmbeddings: true,
      rope: { theta: 100_000, scaling: null },
      eosTokenIds: [2],
    });
    expect(checkpoint.has("lm_head")).toBe(false);
    expect(checkpoint.linear("lm_head")).toMatchObject({
      kind: "integer",
      bits: 8,
      groupSize: 32,
      rows: 49152,
    });
    expect(checkpoint.weightFormat).toBe("GGUF Q4_1");
    expect(checkpoint.vector("model.norm.weight")).toHaveLength(576);
  });
});

it("un-permutes the rows of each head", () => {
  const rows = new Uint8Array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  expect([...unpermuteRows(rows, 1, 6)]).toEqual([0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
});

describe("a GGUF file whose tensors have other shapes", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(path.join(os.tmpdir(), "millrace-gguf-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const metadata = {
    "general.architecture": text("llama"),
    "llama.block_count": u32(1),
    "llama.context_length": u32(64),
    "llama.embedding_length": u32(32),
    "llama.feed_forward_length": u32(32),
    "llama.attention.head_count": u32(2),
    "llama.attention.head_count_kv": u32(1),
    "llama.attention.layer_norm_rms_epsilon": f32(1e-5),
  };

  /** A checkpoint of an embedding and one tensor more, its innermost dimension first. */
  function open(name: string, ...dims: number[]): ReturnType<typeof openCheckpoint> {
    const file = path.join(folder, `${name}-${dims.join("-")}.gguf`);
    const floats = (own: readonly number[]): Uint8Array => new Uint8Array(own.reduce((a, b) => a * b, 4));
    const tensors = [
      { name: "token_embd.weight", dims: [32, 8], type: 0, data: floats([32, 8]) },
      { name, dims, type: 0, data: floats(dims) },
    ];
    writeFileSync(file, buildGguf({ metadata, tensors }));
    return openCheckpoint(file);
  }

  it.each([
    [
      "blk.0.attn_q.weight",
      [32],
      "model.layers.0.self_attn.q_proj",
      "has shape [32]; a matrix has two dimensions",
    ],
    [
      "blk.0.ffn_up.weight",
      [32, 4, 2],
      "model.layers.0.mlp.up_proj",
      "[2, 4, 32]; a matrix has two dimensions",
    ],
    [
      "blk.0.attn_q.weight",
      [32, 24],
      "model.layers.0.self_attn.q_proj",
      "24 rows, which are not whole heads",
    ],
  ])("%s %j is refused for what is wrong with it, by its header alone too", (name, dims, module, says) => {
    const checkpoint = open(name, ...dims);
    const error = { code: "invalid_model_file", message: expect.stringContaining(says) as string };
    expect(() => checkpoint.form(module)).toThrowError(expect.objectContaining(error));
    expect(() => checkpoint.linear(module)).toThrowError(expect.objectContaining(error));
  });

  it("says so of a vector", () => {
    const checkpoint = open("output_norm.weight", 32, 2);
    const error = {
      code: "invalid_model_file",
      message: expect.stringContaining("a vector has one") as string,
    };
    expect(() => checkpoint.vectorLength("model.norm.weight")).toThrowError(expect.objectContaining(error));
    expect(() => checkpoint.vector("model.norm.weight")).toThrowError(expect.objectContaining(error));
  });
});
