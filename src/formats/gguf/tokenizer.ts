import { MillraceError } from "../../base/errors.ts";
import type { TokenizerSource } from "../checkpoint.ts";
import type { GgufHeader } from "./header.ts";
import { GgufKeys } from "./metadata.ts";
import { type PreTokenizer, preTokenizers } from "./pre-tokenizers.ts";
import { mergesFromScores } from "./sentencepiece-merges.ts";
import { tokenType } from "./token-types.ts";

interface Vocabulary {
  readonly keys: GgufKeys;
  readonly path: string;
  readonly tokens: readonly string[];
  /** By text; padding rows that converters add (type 5) are no tokens. */
  readonly ids: Map<string, number>;
  /** One of `tokenType` or another for ordinary tokens. */
  readonly types: ArrayLike<number>;
}

/**
 * Rebuilds tokenizer.json and its companions from GGUF metadata. Null when the file has no tokenizer.
 * Throws `unsupported_format` for a tokenizer model or pre-tokenizer not read, `invalid_model_file` for damage.
 */
export function readGgufTokenizer(header: GgufHeader): TokenizerSource | null {
  const keys = new GgufKeys(header.metadata, header.path);
  const model = keys.text("tokenizer.ggml.model");
  const tokens = keys.strings("tokenizer.ggml.tokens")?.read();
  if (model === undefined || model === "no_vocab" || tokens === undefined) return null;
  const types = keys.numbers("tokenizer.ggml.token_type") ?? new Uint8Array(tokens.length).fill(1);
  if (types.length !== tokens.length)
    throw damaged(header.path, `${types.length} token types for ${tokens.length} tokens`);
  const ids = idsOf(tokens, types, header.path);
  const vocabulary: Vocabulary = { keys, path: header.path, tokens, types, ids };
  const addsBos = keys.flag("tokenizer.ggml.add_bos_token");
  const addsEos = keys.flag("tokenizer.ggml.add_eos_token") ?? false;
  if (model === "gpt2") {
    const pre = findPreTokenizer(keys, header.path);
    const post = postProcessor(vocabulary, addsBos ?? pre.addsBos, addsEos);
    return assemble(
      vocabulary,
      { ...byteLevelParts(vocabulary, pre), post_processor: post },
      addsBos ?? pre.addsBos,
    );
  }
  if (model === "llama") {
    const post = postProcessor(vocabulary, addsBos ?? true, addsEos);
    return assemble(vocabulary, { ...sentencePieceParts(vocabulary), post_processor: post }, addsBos ?? true);
  }
  throw new MillraceError(
    "unsupported_format",
    `${header.path} has a tokenizer of model "${model}"; gpt2 (byte-level BPE) and llama (SentencePiece BPE) are read. Give a tokenizer.json with --tokenizer.`,
  );
}

function findPreTokenizer(keys: GgufKeys, path: string): PreTokenizer {
  const name = keys.text("tokenizer.ggml.pre") ?? "default";
  const found = Object.hasOwn(preTokenizers, name) ? preTokenizers[name] : undefined;
  if (found !== undefined) return found;
  throw new MillraceError(
    "unsupported_format",
    `${path} has tokenizer.ggml.pre "${name}"; ${Object.keys(preTokenizers).join(", ")} are read. Give a tokenizer.json with --tokenizer.`,
  );
}

function byteLevelParts(vocabulary: Vocabulary, pre: PreTokenizer): Record<string, unknown> {
  const merges = vocabulary.keys.strings("tokenizer.ggml.merges");
  if (merges === undefined) throw damaged(vocabulary.path, "a gpt2 tokenizer without tokenizer.ggml.merges");
  return {
    normalizer: pre.normalizer,
    pre_tokenizer: pre.preTokenizer,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: bpeModel(vocabulary.ids, () => merges.read(), { ignore_merges: pre.ignoresMerges }),
  };
}

/** As transformers writes the tokenizers of Llama 2 and Mistral: "▁" for spaces, bytes for the rest. */
function sentencePieceParts(vocabulary: Vocabulary): Record<string, unknown> {
  const { keys, tokens, ids } = vocabulary;
  const scores = keys.numbers("tokenizer.ggml.scores");
  if (scores === undefined || scores.length !== tokens.length) {
    throw damaged(vocabulary.path, "a llama tokenizer without a score for each token");
  }
  const hasPrefix = keys.flag("tokenizer.ggml.add_space_prefix") ?? true;
  const unknown = keys.number("tokenizer.ggml.unknown_token_id") ?? 0;
  const toMeta = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const toSpace = { type: "Replace", pattern: { String: "▁" }, content: " " };
  const decoders = [toSpace, { type: "ByteFallback" }, { type: "Fuse" }];
  const strip = { type: "Strip", content: " ", start: 1, stop: 0 };
  return {
    normalizer: hasPrefix
      ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, toMeta] }
      : toMeta,
    pre_tokenizer: null,
    decoder: { type: "Sequence", decoders: hasPrefix ? [...decoders, strip] : decoders },
    model: bpeModel(ids, () => mergesFromScores(ids, scores), {
      unk_token: tokens[unknown] ?? null,
      fuse_unk: true,
      byte_fallback: true,
    }),
  };
}

/** With tables that are made anew whenever they are read: a server wants them once, and in another form. */
function bpeModel(
  ids: ReadonlyMap<string, number>,
  merges: () => readonly unknown[],
  rules: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  return {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    ...rules,
    get vocab() {
      // Without a prototype, so that no token is taken for an inherited property.
      const vocab = Object.create(null) as Record<string, number>;
      for (const [token, id] of ids) vocab[token] = id;
      return vocab;
    },
    get merges() {
      return merges();
    },
  };
}

function idsOf(tokens: readonly string[], types: ArrayLike<number>, path: string): Map<string, number> {
  const ids = new Map<string, number>();
  for (let id = 0; id < tokens.length; id += 1) {
    const token = tokens[id]!;
    if (types[id] === tokenType.unused) continue;
    if (ids.has(token)) throw damaged(path, "a vocabulary with a repeated token");
    ids.set(token, id);
  }
  return ids;
}

function postProcessor(
  vocabulary: Vocabulary,
  addsBos: boolean,
  addsEos: boolean,
): Record<string, unknown> | null {
  const bos = addsBos ? specialToken(vocabulary, "bos") : null;
  const eos = addsEos ? specialToken(vocabulary, "eos") : null;
  const present = [bos, eos].filter((token) => token !== null);
  if (present.length === 0) return null;
  const item = (token: SpecialToken | null): object[] =>
    token === null ? [] : [{ SpecialToken: { id: token.content, type_id: 0 } }];
  const single = [...item(bos), { Sequence: { id: "A", type_id: 0 } }, ...item(eos)];
  return {
    type: "TemplateProcessing",
    single,
    pair: [...single, ...item(bos), { Sequence: { id: "B", type_id: 1 } }, ...item(eos)],
    special_tokens: Object.fromEntries(
      present.map(({ id, content }) => [content, { id: content, ids: [id], tokens: [content] }]),
    ),
  };
}

interface SpecialToken {
  readonly id: number;
  readonly content: string;
}

function specialToken({ keys, tokens, path }: Vocabulary, name: string): SpecialToken | null {
  const key = `tokenizer.ggml.${name}_token_id`;
  const id = keys.number(key);
  if (id === undefined) return null;
  const content = tokens[id];
  if (content === undefined) throw damaged(path, `${key} = ${id}, but only ${tokens.length} tokens`);
  return { id, content };
}

function assemble(vocabulary: Vocabulary, parts: Record<string, unknown>, addsBos: boolean): TokenizerSource {
  const { keys, tokens, types } = vocabulary;
  const isAdded = (type: number | undefined): boolean =>
    type === tokenType.control || type === tokenType.user || type === tokenType.unknown;
  const added: object[] = [];
  for (let id = 0; id < tokens.length; id += 1) {
    if (!isAdded(types[id])) continue;
    const special = types[id] !== tokenType.user;
    const own = { single_word: false, lstrip: false, rstrip: false, normalized: false, special };
    added.push({ id, content: tokens[id], ...own });
  }
  const textOf = (name: string): string | null => specialToken(vocabulary, name)?.content ?? null;
  const ends = ["eos", "eot", "eom"].flatMap((name) => specialToken(vocabulary, name)?.id ?? []);
  const chatTemplate = keys.text("tokenizer.chat_template") ?? null;
  return {
    origin: vocabulary.path,
    ids: vocabulary.ids,
    tokenizerJson: { version: "1.0", truncation: null, padding: null, added_tokens: added, ...parts },
    tokenizerConfig: {
      tokenizer_class: "PreTrainedTokenizerFast",
      add_bos_token: addsBos,
      bos_token: textOf("bos"),
      eos_token: textOf("eos"),
      unk_token: textOf("unknown"),
      pad_token: textOf("padding"),
      clean_up_tokenization_spaces: false,
      ...(chatTemplate === null ? {} : { chat_template: chatTemplate }),
    },
    chatTemplate,
    generationConfig: {
      bos_token_id: specialToken(vocabulary, "bos")?.id ?? null,
      eos_token_id: [...new Set(ends)],
      pad_token_id: specialToken(vocabulary, "padding")?.id ?? null,
    },
  };
}

function damaged(path: string, what: string): MillraceError {
  return new MillraceError(
    "invalid_model_file",
    `${path} has ${what}. Fetch the file again, or give a tokenizer.json with --tokenizer.`,
  );
}
