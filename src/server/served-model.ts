import { MillraceError } from "../base/errors.ts";
import type { EngineClient } from "../protocol/engine-client.ts";
import type { ChatTemplate, Tokenizer } from "../tokenizer/tokenizer.ts";

/** Sampling values that the model's own generation config sets; used where a request says nothing. */
export interface GenerationDefaults {
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
}

/** One model as the server offers it. */
export interface ServedModel {
  /** Name shown by `GET /v1/models` and in answers. */
  readonly id: string;
  /** Further names that requests may use. */
  readonly aliases: readonly string[];
  readonly client: EngineClient;
  readonly tokenizer: Tokenizer;
  /** Unix seconds. */
  readonly created: number;
  /** Most tokens of prompt and answer together. */
  readonly maxModelLen: number;
  readonly generationDefaults: GenerationDefaults;
  /** Replaces the tokenizer's own template; null keeps that. */
  readonly chatTemplate: ChatTemplate | null;
}

/** The models of one server under every name that a request may use. */
export class ModelRegistry {
  readonly models: readonly ServedModel[];
  readonly #byName = new Map<string, ServedModel>();

  constructor(models: ReadonlyMap<string, ServedModel>) {
    this.models = [...models.values()];
    for (const [name, model] of models) {
      for (const alias of [name, model.id, ...model.aliases]) this.#byName.set(alias, model);
    }
  }

  /** The named model, or the first one where the request names none. Errors: `model_not_found`. */
  resolve(name: string | null | undefined): ServedModel {
    const first = this.models[0];
    if (first === undefined)
      throw new MillraceError("server_not_ready", "No model is loaded yet. Try again.");
    if (name === null || name === undefined || name === "") return first;
    const model = this.#byName.get(name);
    if (model !== undefined) return model;
    const names = [...this.#byName.keys()].map((known) => `\`${known}\``).join(", ");
    throw new MillraceError(
      "model_not_found",
      `The model \`${shorten(name)}\` does not exist. This server serves ${names}. Use one of these names.`,
      { param: "model" },
    );
  }
}

/** A text from a request, short enough for a message. */
export function shorten(text: string, maxLength = 80): string {
  return text.length <= maxLength ? text : `${text.slice(0, maxLength)}…`;
}
