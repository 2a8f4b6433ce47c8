import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
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
