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
const knownArchitectures: readonly string[] = Object.keys(builders);

/** The error `unsupported_architecture` for one that has no definition here, naming the file that asks for it. */
export function findArchitectureFault(architecture: string, file: string): MillraceError | undefined {
  if (Object.hasOwn(builders, architecture)) return undefined;
  return new MillraceError(
    "unsupported_architecture",
    `${file} is a model of the architecture ${architecture}, which cannot be run here; known are ${knownArchitectures.join(", ")}. Use a model of one of these families.`,
  );
}

/** For `openCheckpoint`: refuses a model that could not be run before anything else of it is read. */
export function requireArchitecture(architecture: string, file: string): void {
  const fault = findArchitectureFault(architecture, file);
  if (fault !== undefined) throw fault;
}

/** Throws `unsupported_architecture`, naming `file`. */
export function findBuilder(architecture: string, file: string): ModelBuilder {
  requireArchitecture(architecture, file);
  return builders[architecture]!;
}
