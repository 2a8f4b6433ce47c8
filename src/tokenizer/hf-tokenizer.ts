import * as library from "@huggingface/tokenizers";
import { MillraceError, messageOf } from "../base/errors.ts";
import type { TokenizerSource } from "../formats/checkpoint.ts";
import { bytePairMerger, type MergeTexts } from "./byte-pair-merger.ts";
import { portablePreTokenizer } from "./portable-pre-tokenizer.ts";

/** What we use of the library, whose own types do not resolve under Node's module rules. */
export interface HfTokenizer {
  encode(
    text: string,
    options: { readonly add_special_tokens: boolean },
  ): { readonly ids: (number | undefined)[] };
}

interface LibraryTokenizer extends HfTokenizer {
  readonly model: LibraryModel;
}

/** Its model of byte pairs; another has no `bpe`. */
interface LibraryModel {
  /** The texts of a word's tokens. */
  bpe?: (word: string) => readonly string[];
  tokens_to_ids: Map<string, number>;
  unk_token_id: number | undefined;
}

type Json = Readonly<Record<string, unknown>>;

/**
 * Builds the library's tokenizer from tokenizer.json, with our own byte-pair merging where it has one: the library
 * would make five tables of a vocabulary at the start, and grows slow on long words. Throws `unsupported_format` for
 * parts that it does not know and `invalid_model_file` for damaged ones.
 *
 * @param ids of `model.vocab`; added tokens come to it
 */
export function createHfTokenizer(source: TokenizerSource, ids: Map<string, number>): HfTokenizer {
  const { tokenizerJson: json, tokenizerConfig: config } = source;
  const model = json["model"] as Json;
  const isOurs = isPlainBytePairs(model) && (source.ids !== undefined || areMerges(model["merges"]));
  const shown = isOurs ? { ...rulesOf(model), vocab: {}, merges: [] } : model;
  const preTokenizer = portablePreTokenizer(json["pre_tokenizer"] ?? null);
  const tokenizer = build({ ...json, pre_tokenizer: preTokenizer, model: shown }, config);
  if (isOurs) {
    const own = tokenizer.model;
    const unknown = model["unk_token"];
    own.unk_token_id = typeof unknown === "string" ? ids.get(unknown) : undefined;
    for (const [text, id] of own.tokens_to_ids) ids.set(text, id);
    own.tokens_to_ids = ids;
    own.bpe = bytePairMerger(() => model["merges"] as readonly MergeTexts[]);
  }
  return tokenizer;
}

function build(json: Json, config: Json): LibraryTokenizer {
  try {
    const { Tokenizer } = library as unknown as {
      readonly Tokenizer: new (json: Json, config: Json) => LibraryTokenizer;
    };
    return new Tokenizer(json, config);
  } catch (error) {
    throw new MillraceError(
      /unknown|unsupported|not supported/i.test(messageOf(error))
        ? "unsupported_format"
        : "invalid_model_file",
      `The tokenizer cannot be built: ${messageOf(error)}. Give another tokenizer with --tokenizer.`,
      { cause: error },
    );
  }
}

/** Whether nothing changes words before or after merging. */
function isPlainBytePairs({
  type,
  end_of_word_suffix: ending,
  continuing_subword_prefix: prefix,
}: Json): boolean {
  return type === "BPE" && !ending && !prefix;
}

function areMerges(merges: unknown): boolean {
  return (
    Array.isArray(merges) &&
    (merges as unknown[]).every(
      (merge) =>
        typeof merge === "string" ||
        (Array.isArray(merge) && merge.length === 2 && merge.every((text) => typeof text === "string")),
    )
  );
}

/** What a model of byte pairs has beside its tables, which a source may make only when they are read. */
function rulesOf({ type, unk_token, fuse_unk, byte_fallback, ignore_merges }: Json): Json {
  return { type, unk_token, fuse_unk, byte_fallback, ignore_merges };
}
