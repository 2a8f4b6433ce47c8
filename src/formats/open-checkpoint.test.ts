import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { buildGguf } from "../../tests/gguf-builder.ts";
import { describeWithData, testData } from "../../tests/test-data.ts";
import { readWholeFile } from "./file-access.ts";
import { openCheckpoint } from "./open-checkpoint.ts";
import { writeSafetensors } from "./safetensors-writer.ts";
import { loadTokenizerSource } from "./tokenizer-source.ts";

const root = mkdtempSync(path.join(tmpdir(), "millrace-open-"));
afterAll(() => rmSync(root, { recursive: true }));

function folderOf(name: string, files: Record<string, string | Uint8Array>): string {
  const folder = path.join(root, name);
  mkdirSync(folder);
  for (const [file, content] of Object.entries(files)) writeFileSync(path.join(folder, file), content);
  return folder;
}

const config = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 8,
  intermediate_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 1,
  vocab_size: 2,
  tie_word_embeddings: true,
};

describe("a path that is no model", () => {
  it.each([
    ["nothing there", () => path.join(root, "none"), "file_not_found", "There is nothing at"],
    [
      "the name of a model on a hub",
      () => "some-org/some-model",
      "file_not_found",
      "millrace pull some-org/some-model",
    ],
    ["an empty folder", () => folderOf("empty", {}), "file_not_found", "has no config.json"],
    [
      "a folder with a config alone",
      () => folderOf("config", { "config.json": "{}" }),
      "file_not_found",
      "has no model.safetensors",
    ],
    [
      "pickled weights",
      () => folderOf("pickle", { "config.json": "{}", "pytorch_model.bin": "x" }),
      "unsupported_format",
      "pickle",
    ],
    [
      "two GGUF files",
      () => folderOf("two", { "a.gguf": "", "b.gguf": "" }),
      "unsupported_format",
      "2 GGUF files (a.gguf, b.gguf)",
    ],
    [
      "a file of another kind",
      () => path.join(folderOf("other", { "x.txt": "" }), "x.txt"),
      "unsupported_format",
      "is not a .gguf file",
    ],
    [
      "a file of a model's folder",
      () =>
        path.join(folderOf("file", { "config.json": "{}", "model.safetensors": "" }), "model.safetensors"),
      "unsupported_format",
      "is not a .gguf file. Name its folder: ",
    ],
    [
      "a web address",
      () => "https://hub.example/org/name/tree/main",
      "file_not_found",
      "named by its id, not its address: org/name.",
    ],
    [
      "an empty GGUF file",
      () => folderOf("hollow", { "a.gguf": "" }),
      "invalid_model_file",
      "in the middle of its header",
    ],
    [
      "a GGUF file without metadata",
      () => folderOf("bare", { "a.gguf": buildGguf({ metadata: {}, tensors: [] }) }),
      "unsupported_architecture",
      "none",
    ],
    [
      "a config that is no JSON",
      () => folderOf("broken", { "config.json": "{", "model.safetensors": "" }),
      "invalid_model_file",
      "is not JSON",
    ],
  ])("is refused: %s", (_, make, code, message) => {
    expect(() => openCheckpoint(make())).toThrowError(
      expect.objectContaining({ code, message: expect.stringContaining(message) }),
    );
  });
});

describe("a safetensors folder", () => {
  it("maps its files only when a weight is asked for, and reads a tied head as the embedding", () => {
    const folder = folderOf("tied", { "config.json": JSON.stringify(config) });
    const data = new Uint8Array(Float32Array.from({ length: 16 }, (_, i) => i).buffer);
    writeSafetensors(path.join(folder, "model.safetensors"), [
      { name: "model.embed_tokens.weight", dtype: "F32", shape: [2, 8], data },
      { name: "model.ids", dtype: "I64", shape: [2], data: new Uint8Array(16) },
    ]);
    const mapped: string[] = [];
    const checkpoint = openCheckpoint(folder, {
      mapFile: (file) => (mapped.push(file), readWholeFile(file)),
    });
    expect([
      checkpoint.weightFormat,
      checkpoint.has("lm_head"),
      checkpoint.tokenizer(),
      mapped.length,
    ]).toEqual(["f32", false, null, 0]);
    expect(checkpoint.linear("lm_head")).toEqual({ kind: "dense", rows: 2, cols: 8, dtype: "f32", data });
    expect(mapped).toEqual([path.join(folder, "model.safetensors")]);
    expect(() => checkpoint.vector("model.norm.weight")).toThrowError(
      expect.objectContaining({ code: "tensor_missing" }),
    );
    expect(() => checkpoint.vector("model.ids")).toThrowError(
      expect.objectContaining({ code: "unsupported_format" }),
    );
    checkpoint.close();
  });

  it.each([
    ["gptq", "GPTQ W4A16 g128"],
    ["awq", "AWQ W4A16 g128"],
  ])("of floats is not taken for %s because its configuration says so", (method, label) => {
    const quantization = { quant_method: method, bits: 4, group_size: 128 };
    const folder = folderOf(`floats-${method}`, {
      "config.json": JSON.stringify({ ...config, quantization_config: quantization }),
    });
    const data = new Uint8Array(64);
    const name = "model.embed_tokens.weight";
    writeSafetensors(path.join(folder, "model.safetensors"), [{ name, dtype: "F32", shape: [2, 8], data }]);
    const checkpoint = openCheckpoint(folder);
    expect(checkpoint.weightFormat).toBe(`${method} (not read)`);
    const message = expect.stringMatching(new RegExp(`${label}.*\\.qweight.*not packed`)) as string;
    for (const ask of [() => checkpoint.linear("lm_head"), () => checkpoint.form("lm_head")])
      expect(ask).toThrowError(expect.objectContaining({ code: "invalid_model_file", message }));
    checkpoint.close();
  });
});

describe("a tokenizer's place", () => {
  const tokenizer = JSON.stringify({ model: { type: "BPE" } });

  it("is a folder or a file, with the template of its own file before that of the config", () => {
    const folder = folderOf("tokenizer", {
      "tokenizer.json": tokenizer,
      "tokenizer_config.json": JSON.stringify({
        chat_template: [
          { name: "tool_use", template: "t" },
          { name: "default", template: "d" },
        ],
      }),
      "generation_config.json": '{"eos_token_id": 3}',
    });
    expect(loadTokenizerSource(folder)).toMatchObject({
      chatTemplate: "d",
      generationConfig: { eos_token_id: 3 },
    });
    writeFileSync(path.join(folder, "chat_template.jinja"), "own");
    expect(loadTokenizerSource(path.join(folder, "tokenizer.json")).chatTemplate).toBe("own");
  });

  it("is refused when there is none", () => {
    expect(() => loadTokenizerSource(path.join(root, "nowhere"))).toThrowError(
      expect.objectContaining({ code: "file_not_found" }),
    );
    expect(() => loadTokenizerSource(folderOf("no-tokenizer", {}))).toThrowError(
      expect.objectContaining({ code: "no_tokenizer" }),
    );
  });
});

describeWithData("the recorded models", () => {
  it.each(["llama", "qwen3", "gemma3", "mixtral", "phi3"])("tiny %s is opened", (name) => {
    const checkpoint = openCheckpoint(testData("models", "tiny", name));
    expect(checkpoint.config.hiddenSize).toBe(64);
    expect(checkpoint.linear("model.embed_tokens")).toMatchObject({ rows: 512, cols: 64, dtype: "bf16" });
  });
});
