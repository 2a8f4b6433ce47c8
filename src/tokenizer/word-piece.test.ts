import fc from "fast-check";
import { Tokenizer as Oracle } from "tokenizers";
import { expect, it } from "vitest";
import { createTokenizer } from "./create-tokenizer.ts";

const letters = "abcdefghijklmnopqrstuvwxyz".split("");
const texts = [
  "[PAD]",
  "[UNK]",
  "[CLS]",
  "[SEP]",
  ...letters,
  ...letters.map((letter) => `##${letter}`),
  "the",
  "cafe",
  "un",
  "##able",
  "##ing",
  "##er",
  "東",
  "京",
  ".",
  ",",
  "!",
  "'",
  "-",
  "0",
  "1",
  "##0",
  "##1",
];

/** BERT's tokenizer over a small vocabulary. */
const tokenizerJson = {
  version: "1.0",
  truncation: { max_length: 4, strategy: "LongestFirst", stride: 0 },
  padding: null,
  added_tokens: texts.slice(0, 4).map((content, id) => ({
    id,
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  })),
  normalizer: {
    type: "BertNormalizer",
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
  },
  pre_tokenizer: { type: "BertPreTokenizer" },
  post_processor: {
    type: "TemplateProcessing",
    single: [
      { SpecialToken: { id: "[CLS]", type_id: 0 } },
      { Sequence: { id: "A", type_id: 0 } },
      { SpecialToken: { id: "[SEP]", type_id: 0 } },
    ],
    pair: [],
    special_tokens: {
      "[CLS]": { id: "[CLS]", ids: [2], tokens: ["[CLS]"] },
      "[SEP]": { id: "[SEP]", ids: [3], tokens: ["[SEP]"] },
    },
  },
  decoder: { type: "WordPiece", prefix: "##", cleanup: false },
  model: {
    type: "WordPiece",
    unk_token: "[UNK]",
    continuing_subword_prefix: "##",
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(texts.map((text, id) => [text, id])),
  },
};

const tokenizer = createTokenizer({
  origin: "tokenizer.json",
  tokenizerJson,
  tokenizerConfig: {},
  chatTemplate: null,
  generationConfig: null,
});

const anyText = fc.string({
  unit: fc.oneof(
    fc.constantFrom(
      " ",
      "  ",
      "\n",
      "\t",
      "The",
      "Café",
      "Ünable",
      "东",
      "東京",
      "🙂",
      "½",
      "[SEP]",
      "'s",
      "...",
    ),
    fc.stringMatching(/^[a-zA-Z]{1,9}$/),
    fc.stringMatching(/^[0-9]{1,3}$/),
  ),
  maxLength: 20,
});

it("cuts any text into word pieces, whole, as the original library does", async () => {
  const oracle = Oracle.fromString(JSON.stringify({ ...tokenizerJson, truncation: null }));
  await fc.assert(
    fc.asyncProperty(anyText, async (text) => {
      const ids = (await oracle.encode(text)).getIds();
      expect(tokenizer.encode(text)).toEqual(ids);
      expect(tokenizer.decode(ids)).toBe(await oracle.decode(ids, true));
    }),
    { numRuns: 500 },
  );
});
