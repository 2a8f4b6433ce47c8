import { MillraceError } from "../base/errors.ts";
import type { GrammarSpec } from "../grammar/grammar-spec.ts";
import type { EngineClient, Scorer } from "../protocol/engine-client.ts";
import type { TokenGrammar } from "../protocol/token-mask-channel.ts";
import type { ReasoningName } from "../text/chat-output/reasoning-splitter.ts";
import type { ToolSyntaxName } from "../text/chat-output/tool-syntax.ts";
import type { ChatTemplate, Tokenizer } from "../tokenizer/tokenizer.ts";

/** Sampling values that the model's own generation config sets; used where a request says nothing. */
export interface GenerationDefaults {
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly minP?: number;
  readonly repetitionPenalty?: number;
}

/** Where grammars are compiled: `GrammarPool`. */
export interface GrammarSource {
  /** Errors: `invalid_request` naming `param`. */
  prepare(spec: GrammarSpec, param: string): Promise<TokenGrammar>;
}

/** One model as the server offers it. */
export interface ServedModel {
  /** Name shown by `GET /v1/models` and in answers. */
  readonly id: string;
  /** Further names that requests may use. */
  readonly aliases?: readonly string[];
  /** Of an adapter: the id of the model that it changes, whose engine runs it. */
  readonly parent?: string;
  readonly client: EngineClient;
  /** Scores prompts by the client. */
  readonly promptScorer: Scorer;
  readonly tokenizer: Tokenizer;
  /** Compiles what answers have to follow; null for a model that writes none. */
  readonly grammars: GrammarSource | null;
  /** Unix seconds. */
  readonly created: number;
  readonly generationDefaults: GenerationDefaults;
  /** Variables of the chat template that requests may set otherwise. */
  readonly templateDefaults?: Readonly<Record<string, unknown>>;
  /** Replaces the tokenizer's own template. */
  readonly chatTemplate?: ChatTemplate;
  /** How the model writes calls of tools; left out: as its chat template asks. Null: calls are not looked for. */
  readonly toolSyntax?: ToolSyntaxName | null;
  /** How the model marks its reasoning; left out: as its chat template does. Null: it is not looked for. */
  readonly reasoning?: ReasoningName | null;
}

export function chatTemplateOf(model: ServedModel): ChatTemplate | null {
  return model.chatTemplate ?? model.tokenizer.chatTemplate;
}

/** The models of one server under every name that a request may use. */
export class ModelRegistry {
  readonly models: readonly ServedModel[];
  readonly #byName = new Map<string, ServedModel>();

  /** Where two models claim a name, the first one keeps it. */
  constructor(models: readonly ServedModel[]) {
    this.models = models;
    for (const model of models) {
      for (const name of namesOf(model)) if (!this.#byName.has(name)) this.#byName.set(name, model);
    }
  }

  has(name: string): boolean {
    return this.#byName.has(name);
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

/** Every name of a model, its id first. */
export function namesOf(model: ServedModel): readonly string[] {
  return [...new Set([model.id, ...(model.aliases ?? [])])];
}

/** A text from a request, short enough for a message. */
export function shorten(text: string, maxLength = 80): string {
  return text.length <= maxLength ? text : `${text.slice(0, maxLength)}…`;
}
