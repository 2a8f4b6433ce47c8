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

const digitsFirst: PreTokenizer = {
  ...gpt2,
  preTokenizer: {
    type: "Sequence",
    pretokenizers: [{ type: "Digits", individual_digits: true }, byteLevel(true)],
  },
};

const threeDigits: PreTokenizer = { ...gpt2, preTokenizer: split(wordPattern("\\p{N}{1,3}")) };
const llama3: PreTokenizer = { ...threeDigits, ignoresMerges: true, addsBos: true };
const oneDigit: PreTokenizer = { ...gpt2, preTokenizer: split(wordPattern("\\p{N}")) };
const qwen2: PreTokenizer = { ...oneDigit, normalizer: { type: "NFC" } };

/** Words by case: capitals before small letters (o200k and Tekken). */
const casePattern = (digits: string, ending: string): string => {
  const [upper, lower] = ["\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}", "\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}"];
  const lead = "[^\\r\\n\\p{L}\\p{N}]?";
  return (
    `${lead}[${upper}]*[${lower}]+${ending}|${lead}[${upper}]+[${lower}]*${ending}|${digits}|` +
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
  );
};

const tekken: PreTokenizer = {
  ...gpt2,
  preTokenizer: split(casePattern("\\p{N}", "")),
  ignoresMerges: true,
  addsBos: true,
};
const gpt4o: PreTokenizer = {
  ...gpt2,
  preTokenizer: split(casePattern("\\p{N}{1,3}", "(?i:'s|'t|'re|'ve|'m|'ll|'d)?")),
};

/**
 * By `tokenizer.ggml.pre`, as llama.cpp groups them; of several names with one meaning the first is written. Those that
 * models of the families here have: Llama, Mistral, Qwen, Phi, Granite, SmolLM, OLMo and what was made of them.
 */
export const preTokenizers: Readonly<Partial<Record<string, PreTokenizer>>> = {
  default: gpt2,
  "gpt-2": gpt2,
  "phi-2": gpt2,
  olmo: gpt2,
  mellum: gpt2,
  "granite-docling": gpt2,
  trillion: gpt2,
  smollm: digitsFirst,
  refact: digitsFirst,
  starcoder: digitsFirst,
  "minerva-7b": digitsFirst,
  "llama-bpe": llama3,
  llama3,
  "llama-v3": llama3,
  falcon3: llama3,
  pixtral: llama3,
  "midm-2.0": llama3,
  dbrx: threeDigits,
  "smaug-bpe": threeDigits,
  qwen2,
  "deepseek-r1-qwen": qwen2,
  megrez: qwen2,
  stablelm2: oneDigit,
  tekken,
  "gpt-4o": gpt4o,
};
