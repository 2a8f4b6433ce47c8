/**
 * Rewrites the pre-tokenizer of a tokenizer.json so that JavaScript's regular expressions cut as the original
 * library's do: there \s is Unicode white space (here it also holds U+FEFF and lacks U+0085), and digits are all
 * of Unicode's numbers.
 */
export function portablePreTokenizer(json: unknown): unknown {
  if (typeof json !== "object" || json === null) return json;
  const part = json as Readonly<Record<string, unknown>>;
  if (part["type"] === "Sequence" && Array.isArray(part["pretokenizers"])) {
    return {
      ...part,
      pretokenizers: part["pretokenizers"].flatMap((item: unknown) => portablePreTokenizer(item)),
    };
  }
  const parts = rewrite(part);
  return parts.length === 1 ? parts[0] : { type: "Sequence", pretokenizers: parts };
}

/** The split that ByteLevel makes by itself (GPT-2). */
const gpt2Pattern = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

function rewrite(part: Readonly<Record<string, unknown>>): unknown[] {
  if (part["type"] === "Digits") return [split(part["individual_digits"] === true ? "\\p{N}" : "\\p{N}+")];
  // With a prefix space the library must see the text before it is cut; its own pattern then stays.
  if (part["type"] === "ByteLevel" && part["use_regex"] !== false && part["add_prefix_space"] !== true) {
    return [split(gpt2Pattern), { ...part, use_regex: false }];
  }
  const pattern = part["pattern"];
  if (part["type"] !== "Split" || typeof pattern !== "object" || pattern === null || !("Regex" in pattern))
    return [part];
  return [{ ...part, pattern: { Regex: unicodeSpace(String(pattern.Regex)) } }];
}

function split(pattern: string): object {
  return { type: "Split", pattern: { Regex: unicodeSpace(pattern) }, behavior: "Isolated", invert: false };
}

/** \s and \S by Unicode's property, inside and outside of character classes. */
function unicodeSpace(pattern: string): string {
  return pattern.replace(/\\(.)/gs, (whole, letter: string) => {
    if (letter === "s") return "\\p{White_Space}";
    return letter === "S" ? "\\P{White_Space}" : whole;
  });
}
