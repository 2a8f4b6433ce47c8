import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { gguf } from "@huggingface/gguf";
import fc from "fast-check";
import { Tokenizer as Oracle } from "tokenizers";
import { afterAll, describe, expect, it } from "vitest";
import { buildGguf, f32, type GgufEntry, type GgufParts, text, u32 } from "../../../tests/gguf-builder.ts";
import { describeWithData, testData } from "../../../tests/test-data.ts";
import { isMillraceError } from "../../base/errors.ts";
import { openCheckpoint } from "../open-checkpoint.ts";
import { readGgufHeader } from "./header.ts";
import { GgufStrings } from "./metadata.ts";
import { llama3Factors } from "./rope-factors.ts";
import { readGgufTokenizer } from "./tokenizer.ts";

const folder = mkdtempSync(path.join(tmpdir(), "millrace-gguf-"));
afterAll(() => rmSync(folder, { recursive: true }));

function write(bytes: Uint8Array): string {
  const file = path.join(folder, "model.gguf");
  writeFileSync(file, bytes);
  return file;
}

const llama: Record<string, GgufEntry> = {
  "general.architecture": text("llama"),
  "llama.block_count": u32(1),
  "llama.context_length": u32(128),
  "llama.embedding_length": u32(64),
  "llama.feed_forward_length": u32(32),
  "llama.attention.head_count": u32(2),
  "llama.attention.head_count_kv": u32(1),
  "llama.attention.layer_norm_rms_epsilon": f32(1e-6),
  "llama.rope.freq_base": f32(500_000),
};

const vector = (name: string, values: number[]): GgufParts["tensors"][number] => ({
  name,
  dims: [values.length],
  type: 0,
  data: new Uint8Array(Float32Array.from(values).buffer),
});

const embedding = { name: "token_embd.weight", dims: [64, 5], type: 8, data: new Uint8Array(5 * 68) };
const parts: GgufParts = { metadata: llama, tensors: [embedding, vector("output_norm.weight", [1, 2])] };

describeWithData("a GGUF header", () => {
  it.each(["smollm2-135m-instruct-q4_1.gguf", "gguf/q4_k_m.gguf", "gguf/bf16.gguf"])(
    "of %s is read as Hugging Face's reader does",
    async (name) => {
      const file = testData("models", ...name.split("/"));
      const header = readGgufHeader(file);
      const oracle = await gguf(file, { allowLocalFile: true });
      const { version, tensor_count, kv_count, ...metadata } = oracle.metadata as Record<string, unknown>;
      expect([version, Number(tensor_count), Number(kv_count)]).toEqual([
        3,
        header.tensors.size,
        header.metadata.size,
      ]);
      const ours = [...header.metadata].map(([key, value]) => {
        if (value instanceof GgufStrings) return [key, value.read()];
        return [key, ArrayBuffer.isView(value) ? [...(value as Int32Array)] : value];
      });
      expect(Object.fromEntries(ours)).toEqual(metadata);
      const dataStart = Math.min(...[...header.tensors.values()].map((tensor) => tensor.offset));
      expect(
        [...header.tensors.values()].map((t) => [t.name, t.shape.map(BigInt), BigInt(t.offset - dataStart)]),
      ).toEqual(
        oracle.tensorInfos
          .map((t) => [t.name, [...t.shape].reverse(), t.offset])
          .toSorted((a, b) => Number((a[2] as bigint) - (b[2] as bigint))),
      );
    },
  );
});

describe("a GGUF file", () => {
  it("of a small model is opened", () => {
    const checkpoint = openCheckpoint(write(buildGguf(parts)));
    expect(checkpoint.config).toMatchObject({
      vocabSize: 5,
      numKvHeads: 1,
      headDim: 32,
      rmsNormEps: 1e-6,
      rope: { theta: 500_000, scaling: null },
    });
    expect([...checkpoint.vector("model.norm.weight")]).toEqual([1, 2]);
    expect(checkpoint.tokenizer()).toBeNull();
    expect(checkpoint.config.json).toMatchObject({
      architectures: ["LlamaForCausalLM"],
      model_type: "llama",
      tie_word_embeddings: true,
      rope_parameters: { rope_type: "default", rope_theta: 500_000 },
    });
  });

  const withTensor = (change: Partial<GgufParts["tensors"][number]>): GgufParts => ({
    ...parts,
    tensors: [embedding, { ...vector("output_norm.weight", [1, 2]), ...change }],
  });
  const patched = (at: number, bytes: number[]): Buffer => {
    const file = buildGguf(parts);
    file.set(bytes, at);
    return file;
  };

  it.each<[string, () => Uint8Array, string, string]>([
    [
      "another beginning",
      () => patched(0, [0x47, 0x47, 0x4d, 0x4c]),
      "invalid_model_file",
      "does not begin with GGUF",
    ],
    ["version 1", () => buildGguf({ ...parts, version: 1 }), "unsupported_format", "version 1"],
    ["big-endian order", () => patched(4, [0, 0, 0, 3]), "unsupported_format", "big-endian"],
    [
      "a huge tensor count",
      () => patched(8, [255, 255, 255, 255, 0, 0, 0, 0]),
      "invalid_model_file",
      "4294967295 elements in its list of tensors",
    ],
    [
      "a count beyond exact numbers",
      () => patched(8, [255, 255, 255, 255, 255, 255, 255, 255]),
      "invalid_model_file",
      "where a size is expected",
    ],
    [
      "a huge metadata count",
      () => patched(16, [255, 255, 255, 127]),
      "invalid_model_file",
      "list of metadata",
    ],
    ["a huge key", () => patched(24, [255, 255, 255, 255, 1]), "invalid_model_file", "a string of"],
    [
      "a repeated key",
      () =>
        buildGguf({
          ...parts,
          metadata: [
            ["a", u32(1)],
            ["a", u32(2)],
          ],
        }),
      "invalid_model_file",
      "twice",
    ],
    [
      "a repeated tensor",
      () => buildGguf({ ...parts, tensors: [embedding, embedding] }),
      "invalid_model_file",
      "twice",
    ],
    [
      "a bad alignment",
      () => buildGguf({ ...parts, metadata: { ...llama, "general.alignment": u32(12) } }),
      "invalid_model_file",
      "power of two",
    ],
    [
      "an offset off its alignment",
      () => buildGguf(withTensor({ offset: 353 })),
      "invalid_model_file",
      "not a multiple of 32",
    ],
    ["an overlap", () => buildGguf(withTensor({ offset: 32 })), "invalid_model_file", "overlaps"],
    [
      "a tensor beyond the end",
      () => buildGguf(withTensor({ offset: 2 ** 40 })),
      "invalid_model_file",
      "ends at byte",
    ],
    ["no dimensions", () => buildGguf(withTensor({ dims: [] })), "invalid_model_file", "0 dimensions"],
    [
      "an empty dimension",
      () => buildGguf(withTensor({ dims: [0, 3] })),
      "invalid_model_file",
      "of shape [3, 0]",
    ],
    [
      "a shape that overflows",
      () => buildGguf(withTensor({ dims: [2 ** 31, 2 ** 31] })),
      "invalid_model_file",
      "of shape",
    ],
    [
      "a broken block",
      () => buildGguf(withTensor({ dims: [33], type: 2 })),
      "invalid_model_file",
      "multiple of 32",
    ],
    ["an unknown type", () => buildGguf(withTensor({ type: 77 })), "unsupported_format", "ggml type 77"],
    ["a type of another name", () => buildGguf(withTensor({ type: 40 })), "unsupported_format", "type NVFP4"],
    [
      "another architecture",
      () => buildGguf({ ...parts, metadata: { ...llama, "general.architecture": text("mamba") } }),
      "unsupported_architecture",
      "mamba",
    ],
    [
      "a missing key",
      () => buildGguf({ ...parts, metadata: { ...llama, "llama.block_count": text("x") } }),
      "invalid_model_file",
      "llama.block_count",
    ],
    [
      "a partial rotation",
      () => buildGguf({ ...parts, metadata: { ...llama, "llama.rope.dimension_count": u32(16) } }),
      "unsupported_format",
      "16 rotated",
    ],
  ])("is refused with %s", (_, make, code, message) => {
    expect(() => openCheckpoint(write(make()))).toThrowError(
      expect.objectContaining({ code, message: expect.stringContaining(message) }),
    );
  });

  it("with arrays nested without end is refused", () => {
    const nested = Buffer.concat(
      Array.from({ length: 4000 }, () => Buffer.from([9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])),
    );
    const file = buildGguf({ metadata: { a: u32(0) }, tensors: [] });
    const start = 24 + 8 + 1;
    expect(() =>
      readGgufHeader(
        write(Buffer.concat([file.subarray(0, start), Buffer.from([9, 0, 0, 0]), nested, Buffer.alloc(64)])),
      ),
    ).toThrowError("nested deeper");
  });

  it("with any byte changed or cut off is read or refused, never more", () => {
    const good = buildGguf({
      metadata: { ...llama, ...sentencePiece, "tokenizer.chat_template": text("{{ x }}") },
      tensors: [
        embedding,
        vector(
          "output_norm.weight",
          Array.from({ length: 64 }, () => 1),
        ),
        vector("rope_freqs.weight", [1, 2, 4, 8]),
      ],
    });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 }),
        fc.option(fc.nat(good.length), { nil: good.length }),
        (changes, length) => {
          const bytes = Buffer.from(good.subarray(0, length));
          for (const [at, value] of changes) if (at < length) bytes[at] = value;
          const file = write(bytes);
          try {
            const checkpoint = openCheckpoint(file);
            checkpoint.linear("model.embed_tokens");
            checkpoint.vector("model.norm.weight");
            checkpoint.tokenizer();
          } catch (error) {
            if (!isMillraceError(error)) throw error;
          }
        },
      ),
      { numRuns: 1500 },
    );
  });
});

describe("RoPE divisors in a GGUF file", () => {
  const open = (factors: number[]): unknown =>
    openCheckpoint(write(buildGguf({ ...parts, tensors: [embedding, vector("rope_freqs.weight", factors)] })))
      .config.rope.scaling;

  it("of Llama 3 become its scaling, with the factor found again", () => {
    const scaling = {
      factor: 32,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    };
    expect(open(llama3Factors(16, 500_000, scaling))).toEqual({
      rope_type: "llama3",
      rope_theta: 500_000,
      ...scaling,
    });
  });

  it("of another origin stay as they are", () => {
    expect(open([1, 2, 3, 4])).toMatchObject({ rope_type: "frequency-factors", factors: [1, 2, 3, 4] });
  });
});

const pieces = [
  "<unk>",
  "<s>",
  "</s>",
  "<0x0A>",
  "<0xE2>",
  "<0x82>",
  "<0xAC>",
  "▁",
  "a",
  "b",
  "▁a",
  "ab",
  "▁ab",
  "c",
  "bc",
  "[PAD0]",
];
const sentencePiece: Record<string, GgufEntry> = {
  "tokenizer.ggml.model": text("llama"),
  "tokenizer.ggml.tokens": { type: "strings", value: pieces },
  "tokenizer.ggml.scores": {
    type: "f32s",
    value: [0, 0, 0, 0, 0, 0, 0, -7, -8, -9, -1, -2, -3, -10, -1.5, 0],
  },
  "tokenizer.ggml.token_type": { type: "i32s", value: [2, 3, 3, 6, 6, 6, 6, 1, 1, 1, 1, 1, 1, 1, 1, 5] },
  "tokenizer.ggml.bos_token_id": u32(1),
  "tokenizer.ggml.eos_token_id": u32(2),
  "tokenizer.ggml.unknown_token_id": u32(0),
};

describe("a SentencePiece tokenizer in a GGUF file", () => {
  const read = (metadata: Record<string, GgufEntry>): NonNullable<ReturnType<typeof readGgufTokenizer>> =>
    readGgufTokenizer(readGgufHeader(write(buildGguf({ metadata, tensors: [] }))))!;

  it("is rebuilt so that merges follow the scores, bytes fall back and BOS is added", async () => {
    const oracle = Oracle.fromString(JSON.stringify(read(sentencePiece).tokenizerJson));
    const encode = async (input: string): Promise<string[]> => (await oracle.encode(input)).getTokens();
    expect(await encode("ab")).toEqual(["<s>", "▁ab"]);
    expect(await encode("a bc")).toEqual(["<s>", "▁a", "▁", "bc"]);
    expect(await encode("€\n")).toEqual(["<s>", "▁", "<0xE2>", "<0x82>", "<0xAC>", "<0x0A>"]);
    expect(await oracle.decode([1, 12, 3, 13], true)).toBe("ab\nc");
  });

  it("is refused by name when it is of another model or pre-tokenizer", () => {
    expect(() => read({ ...sentencePiece, "tokenizer.ggml.model": text("t5") })).toThrowError(
      expect.objectContaining({ code: "unsupported_format", message: expect.stringContaining('"t5"') }),
    );
    const odd = {
      ...sentencePiece,
      "tokenizer.ggml.model": text("gpt2"),
      "tokenizer.ggml.pre": text("viking"),
    };
    expect(() => read(odd)).toThrowError(
      expect.objectContaining({ code: "unsupported_format", message: expect.stringContaining('"viking"') }),
    );
  });

  it("is refused when its lists do not fit", () => {
    expect(() =>
      read({ ...sentencePiece, "tokenizer.ggml.scores": { type: "f32s", value: [1] } }),
    ).toThrowError("score for each token");
    expect(() => read({ ...sentencePiece, "tokenizer.ggml.bos_token_id": u32(99) })).toThrowError(
      "bos_token_id = 99",
    );
  });
});
