import { MillraceError } from "../base/errors.ts";

type Json = Readonly<Record<string, unknown>>;

/** Above this a token id is damage: it would size arrays. */
const maxTokenId = 1 << 21;

/** Token texts by id, and which tokens were added beside the model's own vocabulary. */
export interface Vocabulary {
  /** Highest id + 1. */
  readonly size: number;
  textOf(id: number): string | undefined;
  idOf(text: string): number | undefined;
  isAdded(id: number): boolean;
  isSpecial(id: number): boolean;
}

/** Reads `model.vocab` and `added_tokens` of a tokenizer.json. Throws `invalid_model_file` or `unsupported_format`. */
export function readVocabulary(json: Json): Vocabulary {
  const model = asObject(json["model"], "model");
  const type = model["type"] ?? "BPE";
  if (type !== "BPE" && type !== "WordPiece") {
    throw new MillraceError(
      "unsupported_format",
      `The tokenizer is of type ${JSON.stringify(type)}; BPE and WordPiece are read. Use a model with such a tokenizer.`,
    );
  }
  const texts: (string | undefined)[] = [];
  const addedIds = new Map<string, number>();
  const added = new Map<number, boolean>();
  const note = (text: string, id: unknown): number => {
    if (typeof id !== "number" || !Number.isInteger(id) || id < 0 || id > maxTokenId) {
      throw damaged(
        `gives the token ${JSON.stringify(text.slice(0, 60))} the id ${String(id)}; ids are whole numbers from 0 to ${maxTokenId}`,
      );
    }
    texts[id] = text;
    return id;
  };
  const vocab = asObject(model["vocab"], "model.vocab");
  for (const text in vocab) note(text, vocab[text]);
  const list = json["added_tokens"] ?? [];
  if (!Array.isArray(list)) throw damaged("has added_tokens that are not a list");
  for (const item of list as unknown[]) {
    const token = asObject(item, "an entry of added_tokens");
    if (typeof token["content"] !== "string") throw damaged("has an added token without content");
    const id = note(token["content"], token["id"]);
    added.set(id, token["special"] === true);
    addedIds.set(token["content"], id);
  }
  return {
    size: texts.length,
    textOf: (id) => texts[id],
    idOf: (text) => addedIds.get(text) ?? (Object.hasOwn(vocab, text) ? (vocab[text] as number) : undefined),
    isAdded: (id) => added.has(id),
    isSpecial: (id) => added.get(id) === true,
  };
}

function asObject(value: unknown, what: string): Json {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw damaged(`has ${what} that is not an object`);
}

function damaged(what: string): MillraceError {
  return new MillraceError(
    "invalid_model_file",
    `tokenizer.json ${what}. Fetch it again, or give another one with --tokenizer.`,
  );
}
