import * as library from "@huggingface/tokenizers";
import { MillraceError, messageOf } from "../base/errors.ts";
import { longWordMerger, type MergeTable } from "./long-word-merger.ts";
import { portablePreTokenizer } from "./portable-pre-tokenizer.ts";

/** What we use of the library, whose own types do not resolve under Node's module rules. */
export interface HfTokenizer {
  encode(
    text: string,
    options: { readonly add_special_tokens: boolean },
  ): { readonly ids: (number | undefined)[] };
}

interface LibraryTokenizer extends HfTokenizer {
  readonly model: { bpe?: (word: string) => string[] };
}

type Json = Readonly<Record<string, unknown>>;

/** Words longer than this go through our own merge loop; the library's grows too slow. */
const longWordLength = 256;

/**
 * Builds the library's tokenizer from tokenizer.json. Throws `unsupported_format` for parts that it does not know
 * and `invalid_model_file` for damaged ones.
 */
export function createHfTokenizer(json: Json, config: Json): HfTokenizer {
  let tokenizer: LibraryTokenizer;
  try {
    const { Tokenizer } = library as unknown as {
      readonly Tokenizer: new (json: Json, config: Json) => LibraryTokenizer;
    };
    tokenizer = new Tokenizer(
      { ...json, pre_tokenizer: portablePreTokenizer(json["pre_tokenizer"] ?? null) },
      config,
    );
  } catch (error) {
    throw new MillraceError(
      /unknown|unsupported|not supported/i.test(messageOf(error))
        ? "unsupported_format"
        : "invalid_model_file",
      `The tokenizer cannot be built: ${messageOf(error)}. Give another tokenizer with --tokenizer.`,
      { cause: error },
    );
  }
  const { model } = tokenizer;
  const mergeShort = model.bpe?.bind(model);
  const table = mergeTable(json["model"]);
  if (mergeShort !== undefined && table !== null) {
    const mergeLong = longWordMerger(table);
    model.bpe = (word) => (word.length > longWordLength ? mergeLong(word) : undefined) ?? mergeShort(word);
  }
  return tokenizer;
}

/** Vocabulary and merges, when the model has nothing that changes words before or after merging. */
function mergeTable(model: unknown): MergeTable | null {
  const {
    vocab,
    merges,
    end_of_word_suffix: ending,
    continuing_subword_prefix: prefix,
  } = (model ?? {}) as Json;
  if (
    typeof vocab !== "object" ||
    vocab === null ||
    !Array.isArray(merges) ||
    Boolean(ending) ||
    Boolean(prefix)
  )
    return null;
  return { vocab: vocab as Record<string, number>, merges: merges as (string | [string, string])[] };
}
