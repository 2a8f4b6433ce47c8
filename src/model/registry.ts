import { MillraceError } from "../base/errors.ts";
import type { ModelConfig } from "../formats/model-config.ts";
import type { CausalModel } from "./causal-model.ts";
import { LlamaModel } from "./llama.ts";
import type { WeightLoader } from "./weight-loader.ts";

/** Builds a model from its weights, with rotation tables for `maxModelLen` positions. */
export type ModelBuilder = (loader: WeightLoader, config: ModelConfig, maxModelLen: number) => CausalModel;

const buildLlama: ModelBuilder = (loader, config, maxModelLen) => new LlamaModel(loader, config, maxModelLen);

const builders: Readonly<Record<string, ModelBuilder>> = {
  LlamaForCausalLM: buildLlama,
  MistralForCausalLM: buildLlama,
};

/** Architectures with a definition here, under their names in config.json. */
export const knownArchitectures: readonly string[] = Object.keys(builders);

/** Throws `unsupported_architecture`. */
export function findBuilder(architecture: string): ModelBuilder {
  const builder = Object.hasOwn(builders, architecture) ? builders[architecture] : undefined;
  if (builder !== undefined) return builder;
  throw new MillraceError(
    "unsupported_architecture",
    `The model is a ${architecture}; known are ${knownArchitectures.join(", ")}. Use a model of one of these families.`,
  );
}
