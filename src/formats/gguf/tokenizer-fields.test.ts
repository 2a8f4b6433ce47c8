import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { buildGguf, type GgufEntry, text, u32 } from "../../../tests/gguf-builder.ts";
import type { TokenizerSource } from "../checkpoint.ts";
import type { GgufFields } from "./fields.ts";
import { readGgufHeader } from "./header.ts";
import { readGgufTokenizer } from "./tokenizer.ts";
import { tokenizerFields } from "./tokenizer-fields.ts";
import { createGguf } from "./writer.ts";

const folder = mkdtempSync(path.join(tmpdir(), "millrace-tokenizer-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = path.join(folder, "t.gguf");

function readBack(fields: GgufFields): TokenizerSource {
  createGguf(file, fields, []).commit();
  return readGgufTokenizer(readGgufHeader(file))!;
}

const value = (fields: GgufFields, key: string): unknown =>
  fields.find(([name]) => name === `tokenizer.ggml.${key}`)?.[1].value;

/** A vocabulary of SentencePiece as a converter writes it: scores fall with the order in which pieces were made. */
function sentencePiece(more: Record<string, GgufEntry> = {}): TokenizerSource {
  const made = ["▁t", "he", "▁the", "an", "▁c", "at", "▁cat", "▁an"];
  const letters = ["▁", "t", "h", "e", "a", "n", "c"];
  const bytes = Array.from({ length: 256 }, (_, i) => `<0x${i.toString(16).toUpperCase().padStart(2, "0")}>`);
  const tokens = ["<unk>", "<s>", "</s>", ...bytes, ...made, ...letters];
  const scores = [
    0,
    0,
    0,
    ...bytes.map(() => 0),
    ...made.map((_, i) => -i),
    ...letters.map((_, i) => -100 - i),
  ];
  const types = [2, 3, 3, ...bytes.map(() => 6), ...[...made, ...letters].map(() => 1)];
  const metadata: Record<string, GgufEntry> = {
    "tokenizer.ggml.model": text("llama"),
    "tokenizer.ggml.tokens": { type: "strings", value: tokens },
    "tokenizer.ggml.scores": { type: "f32s", value: scores },
    "tokenizer.ggml.token_type": { type: "i32s", value: types },
    "tokenizer.ggml.bos_token_id": u32(1),
    "tokenizer.ggml.eos_token_id": u32(2),
    "tokenizer.ggml.unknown_token_id": u32(0),
    ...more,
  };
  writeFileSync(file, buildGguf({ metadata, tensors: [] }));
  return readGgufTokenizer(readGgufHeader(file))!;
}

const byteLevel: Record<string, unknown> = {
  model: { type: "BPE", vocab: { a: 0, b: 1, ab: 2 }, merges: [["a", "b"]] },
  pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: true },
  added_tokens: [
    { id: 3, content: "<|end|>", special: true },
    { id: 4, content: "<tool>", special: false },
  ],
};
const plain = { origin: "tokenizer.json", tokenizerConfig: {}, chatTemplate: null, generationConfig: null };

describe("a tokenizer as GGUF metadata", () => {
  it.each([
    ["with a space before the text", {}],
    ["without", { "tokenizer.ggml.add_space_prefix": { type: "bool", value: false } as const }],
    ["with a template", { "tokenizer.chat_template": text("{{ messages }}") }],
  ])("of SentencePiece %s is read back as it was", (_, more) => {
    const source = sentencePiece(more);
    const back = readBack(tokenizerFields(source, 0));
    expect(back.tokenizerJson).toEqual(source.tokenizerJson);
    expect(back.tokenizerConfig).toEqual(source.tokenizerConfig);
    expect(back.chatTemplate).toBe(source.chatTemplate);
    expect(back.generationConfig).toEqual(source.generationConfig);
  });

  it("of byte-level BPE names how text is cut, what each token is, and pads to the embedding's rows", () => {
    const fields = tokenizerFields({ ...plain, tokenizerJson: byteLevel }, 7);
    expect(value(fields, "model")).toBe("gpt2");
    expect(value(fields, "pre")).toBe("gpt-2");
    expect(value(fields, "tokens")).toEqual(["a", "b", "ab", "<|end|>", "<tool>", "[PAD5]", "[PAD6]"]);
    expect(value(fields, "token_type")).toEqual([1, 1, 1, 3, 4, 5, 5]);
    expect(value(fields, "merges")).toEqual(["a b"]);
    expect(value(fields, "add_bos_token")).toBe(false);
  });

  it("takes special tokens from the configuration, further ends from the generation's, and BOS from the template", () => {
    const template = {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<|end|>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
    };
    const fields = tokenizerFields(
      {
        tokenizerJson: { ...byteLevel, post_processor: { type: "Sequence", processors: [template] } },
        origin: "tokenizer.json",
        tokenizerConfig: { bos_token: { content: "<|end|>" }, eos_token: "b" },
        chatTemplate: null,
        generationConfig: { eos_token_id: [1, 3, 4] },
      },
      0,
    );
    const ids = ["bos", "eos", "eot", "eom"].map((name) => value(fields, `${name}_token_id`));
    expect(ids).toEqual([3, 1, 3, 4]);
    expect(value(fields, "add_bos_token")).toBe(true);
    expect(value(fields, "add_eos_token")).toBe(false);
  });

  it("is refused by name for another model, another way to cut text, and more ends than there are keys", () => {
    const of =
      (change: object, more: object = {}) =>
      () =>
        tokenizerFields({ ...plain, ...more, tokenizerJson: { ...byteLevel, ...change } }, 0);
    expect(of({ model: { type: "WordPiece", vocab: {} } })).toThrow(/a tokenizer of type "WordPiece"/);
    expect(of({ pre_tokenizer: { type: "Whitespace" } })).toThrow(/cuts text by {"type":"Whitespace"}/);
    const many = { generationConfig: { eos_token_id: [0, 1, 2, 3] } };
    expect(of({}, many)).toThrow(/4 end-of-text tokens/);
  });
});
