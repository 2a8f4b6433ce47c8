/** How a byte-level BPE tokenizer cuts text before merging, in tokenizer.json's own terms. */
export interface PreTokenizer {
  readonly normalizer: object | null;
  readonly preTokenizer: object;
  /** Words that are tokens are taken whole. */
  readonly ignoresMerges: boolean;
  /** Whether BOS is added where the file does not say. */
  readonly addsBos: boolean;
}

const byteLevel = (useRegex: boolean): object => ({
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: useRegex,
});

const split = (pattern: string): object => ({
  type: "Sequence",
  pretokenizers: [
    { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false },
    byteLevel(false),
  ],
});

/** The cl100k-like pattern; Llama 3 and Qwen 2 differ in how many digits stay together. */
const wordPattern = (digits: string): string =>
  `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

const gpt2: PreTokenizer = {
  normalizer: null,
  preTokenizer: byteLevel(true),
  ignoresMerges: false,
  addsBos: false,
};

/** By `tokenizer.ggml.pre`. */
export const preTokenizers: Readonly<Partial<Record<string, PreTokenizer>>> = {
  default: gpt2,
  "gpt-2": gpt2,
  smollm: {
    normalizer: null,
    preTokenizer: {
      type: "Sequence",
      pretokenizers: [{ type: "Digits", individual_digits: true }, byteLevel(true)],
    },
    ignoresMerges: false,
    addsBos: false,
  },
  "llama-bpe": {
    normalizer: null,
    preTokenizer: split(wordPattern("\\p{N}{1,3}")),
    ignoresMerges: true,
    addsBos: true,
  },
  qwen2: {
    normalizer: { type: "NFC" },
    preTokenizer: split(wordPattern("\\p{N}")),
    ignoresMerges: false,
    addsBos: false,
  },
};
