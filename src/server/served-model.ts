import { MillraceError } from "../base/errors.ts";
import type { EngineClient } from "../protocol/engine-client.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";

/** Sampling values that a request leaves open, from the model's generation_config.json. */
export interface GenerationDefaults {
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
}

/** A model as the API shows it. */
export interface ServedModel {
  readonly id: string;
  readonly client: EngineClient;
  readonly tokenizer: Tokenizer;
  /** Unix seconds. */
  readonly created: number;
  readonly generationDefaults: GenerationDefaults;
}

/** Name → model. Empty until loading is done; every request before that is refused with `server_not_ready`. */
export class ModelRegistry {
  #models: ReadonlyMap<string, ServedModel> | null = null;
  #isDraining = false;

  setReady(models: readonly ServedModel[]): void {
    this.#models = new Map(models.map((model) => [model.id, model]));
  }

  /** From now on new requests are refused. */
  startDraining(): void {
    this.#isDraining = true;
  }

  get isReady(): boolean {
    return this.#models !== null && !this.#isDraining;
  }

  get models(): readonly ServedModel[] {
    return [...(this.#models?.values() ?? [])];
  }

  /** The model that a request names; the first when it names none. */
  find(name: string | undefined): ServedModel {
    if (this.#isDraining) {
      throw new MillraceError("server_not_ready", "The server is shutting down. Send the request to another one.", {
        retryAfterSeconds: 5,
      });
    }
    if (this.#models === null) {
      throw new MillraceError("server_not_ready", "The server is loading the model. Try again when GET /health answers 200.", {
        retryAfterSeconds: 1,
      });
    }
    const model = name === undefined || name === "" ? this.models[0] : this.#models.get(name);
    if (model !== undefined) return model;
    const known = this.models.map(({ id }) => id).join(", ");
    throw new MillraceError("model_not_found", `The model \`${name}\` does not exist. This server has: ${known}.`, {
      param: "model",
    });
  }
}
