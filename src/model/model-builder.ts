import type { ModelConfig } from "../formats/model-config.ts";
import type { CausalModel } from "./causal-model.ts";
import type { WeightLoader } from "./weight-loader.ts";

/** Builds a model from its weights, with rotation tables for `maxModelLen` positions. */
export type ModelBuilder = (loader: WeightLoader, config: ModelConfig, maxModelLen: number) => CausalModel;
