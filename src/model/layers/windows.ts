import type { ModelConfig } from "../../formats/model-config.ts";
import { readConfig } from "../read-config.ts";

/**
 * The sliding window of each layer, 0 for none: as `layer_types` of config.json says, else where `isSliding` is true.
 * Throws `unsupported_format` for a layer type that is not built here.
 */
export function layerWindows(config: ModelConfig, isSliding: (layer: number) => boolean): readonly number[] {
  const read = readConfig(config);
  const { numLayers, slidingWindow } = config;
  const isText = (entry: unknown): entry is string => typeof entry === "string";
  const types = read.list("layer_types", numLayers, isText);
  return Array.from({ length: numLayers }, (_, layer) => {
    const type = types?.[layer] ?? (isSliding(layer) ? "sliding_attention" : "full_attention");
    if (type === "full_attention") return 0;
    if (type !== "sliding_attention") {
      return read.refuse("layer_types", "layers of full_attention and sliding_attention");
    }
    return slidingWindow ?? (types === undefined ? 0 : read.fail("sliding_window", "a whole number above 0"));
  });
}
