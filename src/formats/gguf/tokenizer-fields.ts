import { MillraceError } from "../../base/errors.ts";
import type { TokenizerSource } from "../checkpoint.ts";
import { isJsonObject, type JsonObject } from "../json-file.ts";
import { flag, type GgufFields, type GgufFieldValue, text, u32 } from "./fields.ts";
import { type PreTokenizer, preTokenizers } from "./pre-tokenizers.ts";
import { tokenType } from "./token-types.ts";

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
}

/**
 * A tokenizer as GGUF metadata (the reverse of `readGgufTokenizer`): byte-level BPE, or BPE with byte fallback as
 * made from SentencePiece. Throws `unsupported_format` for another kind, and for a way to cut text before merging
 * that llama.cpp has no name for here.
 *
 * @param numRows rows of the embedding; tokens beyond the vocabulary are written as padding
 */
export function tokenizerFields(source: TokenizerSource, numRows: number): GgufFields {
  const { tokenizerJson, tokenizerConfig } = source;
  const model = tokenizerJson["model"];
  if (!isJsonObject(model) || (model["type"] ?? "BPE") !== "BPE" || !isJsonObject(model["vocab"])) {
    const seen = isJsonObject(model) ? JSON.stringify(model["type"]) : "without a model";
    throw refused(`a tokenizer of type ${seen}`, "BPE");
  }
  const isSentencePiece = model["byte_fallback"] === true;
  const { tokens, types } = tokenTable(tokenizerJson, model["vocab"], { numRows, isSentencePiece });
  const merges = mergeTexts(model["merges"]);
  const fields: [string, GgufFieldValue][] = [
    ["tokenizer.ggml.model", text(isSentencePiece ? "llama" : "gpt2")],
    ["tokenizer.ggml.pre", text(isSentencePiece ? "default" : preTokenizerName(tokenizerJson, model))],
    ["tokenizer.ggml.tokens", { type: "strings", value: tokens }],
    ["tokenizer.ggml.token_type", { type: "i32s", value: types }],
  ];
  if (isSentencePiece) {
    fields.push(["tokenizer.ggml.scores", { type: "f32s", value: scoresOf(tokens, merges) }]);
    fields.push(["tokenizer.ggml.add_space_prefix", flag(addsSpacePrefix(tokenizerJson))]);
  } else fields.push(["tokenizer.ggml.merges", { type: "strings", value: merges }]);
  fields.push(...specialFields(source, tokens));
  for (const name of ["bos", "eos"] as const) {
    const adds = tokenizerConfig[`add_${name}_token`] ?? addsInTemplate(tokenizerJson, tokens, fields, name);
    fields.push([`tokenizer.ggml.add_${name}_token`, flag(adds === true)]);
  }
  if (source.chatTemplate !== null) fields.push(["tokenizer.chat_template", text(source.chatTemplate)]);
  return fields;
}

/** Tokens by id, and what each is. */
function tokenTable(
  json: JsonObject,
  vocab: JsonObject,
  { numRows, isSentencePiece }: { readonly numRows: number; readonly isSentencePiece: boolean },
): { readonly tokens: string[]; readonly types: number[] } {
  const tokens: string[] = [];
  const types: number[] = [];
  const set = (id: unknown, content: string, type: number): void => {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id >= 2 ** 24)
      throw refused(`a token ${JSON.stringify(content).slice(0, 60)} with the id ${String(id)}`, "whole ids");
    tokens[id] = content;
    types[id] = type;
  };
  for (const [content, id] of Object.entries(vocab)) {
    const isByte = isSentencePiece && /^<0x[0-9A-F]{2}>$/.test(content);
    set(id, content, isByte ? tokenType.byte : tokenType.normal);
  }
  for (const { id, content, special } of addedTokens(json)) {
    const isUnknown =
      isSentencePiece && isJsonObject(json["model"]) && json["model"]["unk_token"] === content;
    const known = special ? tokenType.control : tokenType.user;
    set(id, content, isUnknown ? tokenType.unknown : known);
  }
  for (let id = 0; id < Math.max(numRows, tokens.length); id += 1) {
    if (tokens[id] !== undefined) continue;
    tokens[id] = `[PAD${id}]`;
    types[id] = tokenType.unused;
  }
  return { tokens, types };
}

function addedTokens(json: JsonObject): AddedToken[] {
  const list = json["added_tokens"];
  return (Array.isArray(list) ? (list as unknown[]) : []).flatMap((token) =>
    isJsonObject(token) && typeof token["id"] === "number" && typeof token["content"] === "string"
      ? [{ id: token["id"], content: token["content"], special: token["special"] === true }]
      : [],
  );
}

/** "a b", whether the file has texts or pairs. */
function mergeTexts(merges: unknown): string[] {
  if (!Array.isArray(merges)) return [];
  return (merges as unknown[]).map((merge) => (Array.isArray(merge) ? merge.join(" ") : String(merge)));
}

/** Minus the rank of the first merge that makes a token, so that merges sorted by score have their order back. */
function scoresOf(tokens: readonly string[], merges: readonly string[]): number[] {
  const ranks = new Map<string, number>();
  for (const [rank, merge] of merges.entries()) {
    const made = merge.replace(" ", "");
    if (!ranks.has(made)) ranks.set(made, rank);
  }
  return tokens.map((token) => -(ranks.get(token) ?? merges.length));
}

/** Whether a space is put before the text: by the normalizer, or by a Metaspace pre-tokenizer. */
function addsSpacePrefix({ normalizer, pre_tokenizer: pre }: JsonObject): boolean {
  const steps =
    isJsonObject(normalizer) && Array.isArray(normalizer["normalizers"])
      ? normalizer["normalizers"]
      : [normalizer];
  if ((steps as unknown[]).some((step) => isJsonObject(step) && step["type"] === "Prepend")) return true;
  return isJsonObject(pre) && pre["type"] === "Metaspace" && (pre["prepend_scheme"] ?? "always") !== "never";
}

function preTokenizerName(json: JsonObject, model: JsonObject): string {
  const own = shapeOf(json["normalizer"] ?? null, json["pre_tokenizer"], model["ignore_merges"] === true);
  const found = Object.entries(preTokenizers).find(
    ([name, known]) => name !== "default" && known !== undefined && own === shapeOfKnown(known),
  );
  if (found !== undefined) return found[0];
  throw refused(
    `a tokenizer that cuts text by ${JSON.stringify(json["pre_tokenizer"])?.slice(0, 200) ?? "nothing"}`,
    Object.keys(preTokenizers).join(", "),
  );
}

function shapeOfKnown({ normalizer, preTokenizer, ignoresMerges }: PreTokenizer): string {
  return shapeOf(normalizer, preTokenizer, ignoresMerges);
}

/** Text that is equal for equal behaviour: `trim_offsets` and defaults do not count. */
function shapeOf(normalizer: unknown, preTokenizer: unknown, ignoresMerges: boolean): string {
  const steps = (value: unknown): unknown[] => {
    if (!isJsonObject(value)) return [];
    const list = value["normalizers"] ?? value["pretokenizers"];
    return value["type"] === "Sequence" && Array.isArray(list) ? list.flatMap(steps) : [ofStep(value)];
  };
  return JSON.stringify([steps(normalizer), steps(preTokenizer), ignoresMerges]);
}

function ofStep({ trim_offsets: _offsets, invert, ...step }: JsonObject): unknown {
  const kept: JsonObject = { ...step, ...(invert === true ? { invert } : {}) };
  return Object.fromEntries(Object.entries(kept).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

function specialFields(source: TokenizerSource, tokens: readonly string[]): [string, GgufFieldValue][] {
  const { tokenizerConfig, generationConfig } = source;
  const ids = new Map(tokens.map((token, id) => [token, id]));
  const idOf = (name: string): number | undefined => {
    const value = tokenizerConfig[`${name}_token`];
    const content: unknown = isJsonObject(value) ? value["content"] : value;
    return typeof content === "string" ? ids.get(content) : undefined;
  };
  const ends = [generationConfig?.["eos_token_id"] ?? []].flat().filter((id) => typeof id === "number");
  const eos = idOf("eos") ?? ends[0];
  const others = [...new Set(ends)].filter((id) => id !== eos);
  if (others.length > 2) throw refused(`${others.length + 1} end-of-text tokens`, "at most three of them");
  const found: readonly (readonly [string, number | undefined])[] = [
    ["bos", idOf("bos")],
    ["eos", eos],
    ["unknown", idOf("unk")],
    ["padding", idOf("pad")],
    ["eot", others[0]],
    ["eom", others[1]],
  ];
  return found.flatMap(([name, id]) =>
    id === undefined ? [] : [[`tokenizer.ggml.${name}_token_id`, u32(id)] as [string, GgufFieldValue]],
  );
}

/** Whether the post-processor puts the token before or behind a text. */
function addsInTemplate(
  json: JsonObject,
  tokens: readonly string[],
  fields: GgufFields,
  name: "bos" | "eos",
): boolean {
  const id = fields.find(([key]) => key === `tokenizer.ggml.${name}_token_id`)?.[1].value;
  const post = json["post_processor"];
  const content = typeof id === "number" ? tokens[id] : undefined;
  if (content === undefined || !isJsonObject(post)) return false;
  const parts = Array.isArray(post["processors"]) ? (post["processors"] as unknown[]) : [post];
  return parts.some((part) => {
    const single = isJsonObject(part) && Array.isArray(part["single"]) ? (part["single"] as unknown[]) : [];
    const item = name === "bos" ? single[0] : single.at(-1);
    const special = isJsonObject(item) ? item["SpecialToken"] : undefined;
    return isJsonObject(special) && special["id"] === content;
  });
}

function refused(seen: string, supported: string): MillraceError {
  return new MillraceError(
    "unsupported_format",
    `The model has ${seen}, which is not written to GGUF; ${supported} can be. Give another one with --tokenizer, or keep the safetensors folder.`,
  );
}
