import { readFileSync } from "node:fs";
import fc from "fast-check";
import { Tokenizer as Oracle } from "tokenizers";
import { describe, expect, it } from "vitest";
import { describeWithData, testData } from "../../tests/test-data.ts";
import type { TokenizerSource } from "../formats/checkpoint.ts";
import { preTokenizers } from "../formats/gguf/pre-tokenizers.ts";
import { loadTokenizerSource } from "../formats/tokenizer-source.ts";
import { createTokenizer } from "./create-tokenizer.ts";
import type { ChatMessage, Tokenizer } from "./tokenizer.ts";

interface Golden {
  readonly tokenizer: readonly { readonly text: string; readonly ids: number[]; readonly decoded: string }[];
  readonly chat: readonly { messages: ChatMessage[]; text: string; addGenerationPrompt: boolean }[];
}

function streamed(tokenizer: Tokenizer, ids: readonly number[], skipSpecialTokens = true): string {
  const decoder = tokenizer.stream({ skipSpecialTokens });
  return ids.map((id) => decoder.push(id)).join("") + decoder.flush();
}

/** Text of all kinds: words, digits, white space of every script, emoji, broken surrogates, special tokens. */
const anyText = fc.string({
  unit: fc.oneof(
    fc.constantFrom(
      " ",
      "  ",
      "\n",
      "\r\n",
      "\t",
      "\u0085",
      "\u00a0",
      "\u2003",
      "\u3000",
      "\ufeff",
      "\u200b",
      "'s",
      "'LL",
    ),
    fc.constantFrom(
      "<|im_start|>",
      "<|im_end|>",
      "<|endoftext|>",
      "Ġ",
      "▁",
      "١٢",
      "½",
      "Ⅷ",
      "e\u0301",
      "👩‍👩‍👧",
      "東京",
    ),
    fc.string({ unit: "grapheme", maxLength: 3 }),
    fc.stringMatching(/^[a-zA-Z]{1,9}$/),
    fc.stringMatching(/^[0-9]{1,5}$/),
  ),
  maxLength: 30,
});

describeWithData("the tokenizer of SmolLM2, rebuilt from GGUF metadata", () => {
  const source = loadTokenizerSource(testData("models", "smollm2-135m-instruct-q4_1.gguf"));
  const tokenizer = createTokenizer(source);
  const golden = JSON.parse(
    readFileSync(testData("models", "smollm2-135m-instruct.golden.json"), "utf8"),
  ) as Golden;

  it.each(golden.tokenizer)("encodes and decodes $text as transformers does", ({ text, ids, decoded }) => {
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe(decoded);
    expect(streamed(tokenizer, ids, false)).toBe(decoded);
  });

  it.each(golden.chat)(
    "renders the chat template as transformers does",
    ({ messages, text, addGenerationPrompt }) => {
      expect(tokenizer.chatTemplate!.render(messages, { addGenerationPrompt })).toBe(text);
    },
  );

  it("knows its special tokens and vocabulary", () => {
    expect([tokenizer.vocabSize, tokenizer.bosTokenId, tokenizer.eosTokenIds]).toEqual([49152, 1, [2]]);
    expect(tokenizer.tokenText(504)).toBe("The");
    expect(tokenizer.tokenBytes(7042)).toEqual(new TextEncoder().encode(" Paris"));
    expect([tokenizer.isSpecial(2), tokenizer.isSpecial(504)]).toEqual([true, false]);
    expect(tokenizer.tokenBytes(49152)).toBeUndefined();
    expect(tokenizer.decode([1, 504, 99_999, 2])).toBe("The");
  });

  it("encodes and decodes any text as the original library does", async () => {
    const oracle = Oracle.fromString(JSON.stringify(source.tokenizerJson));
    await fc.assert(
      fc.asyncProperty(anyText, async (text) => {
        const ids = (await oracle.encode(text)).getIds();
        expect(tokenizer.encode(text)).toEqual(ids);
        expect(tokenizer.decode(ids, { skipSpecialTokens: false })).toBe(await oracle.decode(ids, false));
      }),
      { numRuns: 300 },
    );
  });

  it.each(Object.keys(preTokenizers))(
    "with the pre-tokenizer %s encodes any text as the original library does",
    async (name) => {
      const pre = preTokenizers[name]!;
      const model = { ...(source.tokenizerJson["model"] as object), ignore_merges: pre.ignoresMerges };
      const tokenizerJson = {
        ...source.tokenizerJson,
        normalizer: pre.normalizer,
        pre_tokenizer: pre.preTokenizer,
        model,
      };
      const oracle = Oracle.fromString(JSON.stringify(tokenizerJson));
      const ours = createTokenizer({ ...source, tokenizerJson });
      await fc.assert(
        fc.asyncProperty(anyText, async (text) => {
          expect(ours.encode(text)).toEqual((await oracle.encode(text)).getIds());
        }),
        { numRuns: 100 },
      );
    },
  );

  it("merges words of tens of thousands of letters as the original library does", async () => {
    const oracle = Oracle.fromString(JSON.stringify(source.tokenizerJson));
    const letters = Array.from({ length: 30_000 }, (_, i) => "etaoinshrdlu"[(i * i * 7 + i * 3) % 12]).join(
      "",
    );
    for (const word of [letters, "a".repeat(20_001), "é".repeat(3000)]) {
      expect(tokenizer.encode(word)).toEqual((await oracle.encode(word)).getIds());
    }
  });

  it("streams any ids, even broken characters, to the text that decoding them at once gives", () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 0, max: 49_200 }), { maxLength: 40 }),
        fc.boolean(),
        (ids, skip) => {
          expect(streamed(tokenizer, ids, skip)).toBe(tokenizer.decode(ids, { skipSpecialTokens: skip }));
        },
      ),
      { numRuns: 500 },
    );
    const bytes = tokenizer.encode("東🙂é");
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...bytes), { maxLength: 20 }), (ids) => {
        expect(streamed(tokenizer, ids)).toBe(tokenizer.decode(ids));
      }),
    );
  });

  it("never shows a part of a character", () => {
    const decoder = tokenizer.stream();
    const deltas = tokenizer.encode("👩‍👩‍👧 東京").map((id) => decoder.push(id));
    expect(deltas.join("") + decoder.flush()).toBe("👩‍👩‍👧 東京");
    expect(deltas.some((delta) => delta.includes("\ufffd"))).toBe(false);
  });
});

describeWithData("a tokenizer rebuilt from GGUF metadata", () => {
  it("is the tokenizer.json that the file was made from", () => {
    const rebuilt = loadTokenizerSource(testData("models", "gguf", "q8_0.gguf"));
    const original = JSON.parse(
      readFileSync(testData("models", "gguf", "tokenizer.json"), "utf8"),
    ) as TokenizerSource["tokenizerJson"];
    const [ours, theirs] = [rebuilt.tokenizerJson, original];
    for (const key of ["added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder"]) {
      expect(ours[key], key).toEqual(theirs[key]);
    }
    const model = (json: TokenizerSource["tokenizerJson"]): Record<string, unknown> => {
      const { merges, ...rest } = json["model"] as Record<string, unknown> & {
        merges: (string | string[])[];
      };
      return {
        ...rest,
        merges: merges.map((merge) => (typeof merge === "string" ? merge : merge.join(" "))),
      };
    };
    expect(model(ours)).toEqual(model(theirs));
  });
});

/** A SentencePiece-like tokenizer as transformers writes Llama 2's. */
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
];
const sentencePiece: TokenizerSource = {
  origin: "tokenizer.json",
  tokenizerJson: {
    added_tokens: [0, 1, 2].map((id) => ({
      id,
      content: pieces[id],
      special: true,
      normalized: false,
      lstrip: false,
      rstrip: false,
      single_word: false,
    })),
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [{ Sequence: { id: "A", type_id: 0 } }, { Sequence: { id: "B", type_id: 1 } }],
      special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
    },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: "<unk>",
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: true,
      byte_fallback: true,
      vocab: Object.fromEntries(pieces.map((piece, id) => [piece, id])),
      merges: ["▁ a", "a b", "▁a b", "▁ ab"],
    },
  },
  tokenizerConfig: { bos_token: "<s>", eos_token: { content: "</s>" } },
  chatTemplate: null,
  generationConfig: { eos_token_id: [2, 13] },
};

describe("a SentencePiece tokenizer with byte fallback", () => {
  const tokenizer = createTokenizer(sentencePiece);

  it("encodes and decodes as the original library does", async () => {
    const oracle = Oracle.fromString(
      JSON.stringify({ version: "1.0", truncation: null, padding: null, ...sentencePiece.tokenizerJson }),
    );
    for (const text of ["ab", "ab c", " a  b\n", "€", "ab€\nz", "", "</s>ab"]) {
      const ids = (await oracle.encode(text)).getIds();
      expect(tokenizer.encode(text), text).toEqual(ids);
      expect(tokenizer.decode(ids), text).toBe(await oracle.decode(ids, true));
      expect(streamed(tokenizer, ids), text).toBe(tokenizer.decode(ids));
    }
  });

  it("adds BOS unless told not to, and joins the end tokens of both configurations", () => {
    expect(tokenizer.encode("ab")).toEqual([1, 12]);
    expect(tokenizer.encode("ab", { addSpecialTokens: false })).toEqual([12]);
    expect([tokenizer.bosTokenId, tokenizer.eosTokenIds]).toEqual([1, [2, 13]]);
  });

  it("has no chat template", () => {
    expect(tokenizer.chatTemplate).toBeNull();
  });
});

describe("a chat template", () => {
  const render = (
    template: string,
    messages: readonly ChatMessage[] = [],
    variables: Record<string, unknown> = {},
  ): string =>
    createTokenizer({ ...sentencePiece, chatTemplate: template }).chatTemplate!.render(messages, {
      variables,
    });

  it("sees special tokens, tools as none, and its own variables", () => {
    const template =
      "{{ bos_token }}{% if tools is none %}no tools{% endif %}{{ x | tojson }}{% if add_generation_prompt %}!{% endif %}";
    expect(render(template, [], { x: { é: [1, "<"] } })).toBe('<s>no tools{"é": [1, "<"]}');
  });

  it("reports what the template itself raises", () => {
    expect(() => render("{{ raise_exception('Roles must alternate') }}")).toThrowError(
      expect.objectContaining({
        code: "chat_template_failed",
        message: expect.stringContaining("Roles must alternate"),
      }),
    );
  });

  it("is parsed at its first use only", () => {
    const { chatTemplate } = createTokenizer({ ...sentencePiece, chatTemplate: "{% for" });
    expect(() => chatTemplate!.render([])).toThrowError(
      expect.objectContaining({ code: "chat_template_failed" }),
    );
  });
});

describe("a tokenizer of another kind", () => {
  it("is refused by name", () => {
    const json = { ...sentencePiece.tokenizerJson, model: { type: "Unigram", vocab: [] } };
    expect(() => createTokenizer({ ...sentencePiece, tokenizerJson: json })).toThrowError(
      expect.objectContaining({ code: "unsupported_format", message: expect.stringContaining("Unigram") }),
    );
  });
});
