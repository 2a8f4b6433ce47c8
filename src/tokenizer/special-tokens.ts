import type { TokenizerSource } from "../formats/checkpoint.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface SpecialTokens {
  readonly bosTokenId: number | null;
  readonly eosTokenIds: readonly number[];
  /** bos_token, eos_token … as a chat template sees them. */
  readonly texts: Readonly<Record<string, string>>;
}

const names = [
  "bos_token",
  "eos_token",
  "unk_token",
  "sep_token",
  "pad_token",
  "cls_token",
  "mask_token",
] as const;

/** The tokens that tokenizer_config.json and generation_config.json name. */
export function readSpecialTokens(source: TokenizerSource, vocabulary: Vocabulary): SpecialTokens {
  const texts: Record<string, string> = {};
  for (const name of names) {
    const text = tokenText(source.tokenizerConfig[name]);
    if (text !== undefined) texts[name] = text;
  }
  const idOf = (name: string): number[] => {
    const text = texts[name];
    const id = text === undefined ? undefined : vocabulary.ids.get(text);
    return id === undefined ? [] : [id];
  };
  const generation = source.generationConfig ?? {};
  return {
    bosTokenId: idOf("bos_token")[0] ?? tokenIds(generation["bos_token_id"])[0] ?? null,
    eosTokenIds: [...new Set([...idOf("eos_token"), ...tokenIds(generation["eos_token_id"])])],
    texts,
  };
}

/** A token is a string, or an object with its text in `content`. */
function tokenText(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  const content: unknown =
    typeof value === "object" && value !== null && "content" in value ? value.content : undefined;
  return typeof content === "string" ? content : undefined;
}

function tokenIds(value: unknown): number[] {
  const list: unknown[] = Array.isArray(value) ? value : [value];
  return list.filter((id): id is number => Number.isInteger(id) && (id as number) >= 0);
}
