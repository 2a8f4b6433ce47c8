import type { Weight } from "../base/weights.ts";
import type { ModelWeights } from "./checkpoint.ts";

/** The weights of a model, some linears in place of its own. */
export function withWeights(model: ModelWeights, weights: ReadonlyMap<string, Weight>): ModelWeights {
  return {
    path: model.path,
    config: model.config,
    has: (name) => model.has(name),
    linear: (module) => weights.get(module) ?? model.linear(module),
    vector: (name) => model.vector(name),
    dropPages: () => model.dropPages(),
  };
}
