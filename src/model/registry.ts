import { MillraceError } from "../base/errors.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import type { CausalModel } from "./causal-model.ts";
import { LlamaModel } from "./llama.ts";
import type { WeightLoader } from "./weight-loader.ts";

/** Builds a model's layers from its weights; `maxModelLen` bounds the rotation tables. */
export type ModelBuilder = (loader: WeightLoader, config: ModelConfig, maxModelLen: number) => CausalModel;

const builders: ReadonlyMap<string, ModelBuilder> = new Map<string, ModelBuilder>([
  ["LlamaForCausalLM", (loader, config, maxModelLen) => new LlamaModel(loader, config, maxModelLen)],
]);

/** The builder of an architecture. Errors: `unsupported_architecture`. */
export function builderOf(architecture: string): ModelBuilder {
  const builder = builders.get(architecture);
  if (builder !== undefined) return builder;
  throw new MillraceError(
    "unsupported_architecture",
    `The architecture ${architecture} has no definition here; these have: ${[...builders.keys()].join(", ")}. Use a model of one of them.`,
  );
}
