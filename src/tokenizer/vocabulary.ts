import { MillraceError } from "../base/errors.ts";
import type { TokenizerSource } from "../formats/checkpoint.ts";

type Json = Readonly<Record<string, unknown>>;

/** Above this a token id is damage: it would size arrays. */
const maxTokenId = 1 << 21;

/** Token texts by id, and which tokens were added beside the model's own vocabulary. */
export interface Vocabulary {
  /** Highest id + 1. */
  readonly size: number;
  /** Of all tokens, by text. */
  readonly ids: Map<string, number>;
  textOf(id: number): string | undefined;
  isAdded(id: number): boolean;
  isSpecial(id: number): boolean;
}

/** Reads `model.vocab` and `added_tokens` of a tokenizer.json. Throws `invalid_model_file` or `unsupported_format`. */
export function readVocabulary({ tokenizerJson: json, origin, ids: known }: TokenizerSource): Vocabulary {
  const model = asObject(json["model"], "model", origin);
  const type = model["type"] ?? "BPE";
  if (type !== "BPE" && type !== "WordPiece") {
    throw new MillraceError(
      "unsupported_format",
      `${origin} is a tokenizer of type ${JSON.stringify(type)}; BPE and WordPiece are read. Use a model with such a tokenizer.`,
    );
  }
  const texts: (string | undefined)[] = [];
  const added = new Map<number, boolean>();
  const note = (text: string, id: unknown): number => {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id > maxTokenId) {
      throw damaged(
        origin,
        `gives the token ${JSON.stringify(text.slice(0, 60))} the id ${String(id)}; ids are whole numbers from 0 to ${maxTokenId}`,
      );
    }
    texts[id] = text;
    return id;
  };
  const ids = known ?? idsOf(asObject(model["vocab"], "model.vocab", origin));
  for (const [text, id] of ids) note(text, id);
  const list = json["added_tokens"] ?? [];
  if (!Array.isArray(list)) throw damaged(origin, "has added_tokens that are not a list");
  for (const item of list as unknown[]) {
    const token = asObject(item, "an entry of added_tokens", origin);
    if (typeof token["content"] !== "string") throw damaged(origin, "has an added token without content");
    const id = note(token["content"], token["id"]);
    added.set(id, token["special"] === true);
    ids.set(token["content"], id);
  }
  return {
    size: texts.length,
    ids,
    textOf: (id) => texts[id],
    isAdded: (id) => added.has(id),
    isSpecial: (id) => added.get(id) === true,
  };
}

function idsOf(vocab: Json): Map<string, number> {
  const ids = new Map<string, number>();
  // Twice as quick as `Object.entries` for a vocabulary of the usual size; a parsed object has nothing to inherit.
  for (const text in vocab) ids.set(text, vocab[text] as number);
  return ids;
}

function asObject(value: unknown, what: string, origin: string): Json {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw damaged(origin, `has ${what} = ${shown(value)}; it must be an object`);
}

function shown(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value).slice(0, 60);
}

function damaged(origin: string, what: string): MillraceError {
  return new MillraceError(
    "invalid_model_file",
    `${origin} ${what}. Fetch it again, or give another tokenizer with --tokenizer.`,
  );
}
