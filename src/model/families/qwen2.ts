import { DecoderModel } from "../decoder-model.ts";
import { loadModelRope } from "../layers/rope.ts";
import { layerWindows } from "../layers/windows.ts";
import type { ModelBuilder } from "../model-builder.ts";
import { readConfig } from "../read-config.ts";

/** Qwen2 and Qwen2.5 (`Qwen2ForCausalLM`): Llama with biases on q, k and v, and a window in the upper layers. */
export const buildQwen2: ModelBuilder = (loader, config, maxModelLen) => {
  const rope = loadModelRope(loader.ops, config, maxModelLen);
  const windows = layerWindows(config, isUpperLayer(readConfig(config).value("max_window_layers")));
  return new DecoderModel(loader, config, {
    layer: (index) => ({ attention: { rope, hasQkvBias: true, slidingWindow: windows[index]! } }),
  });
};

/** Whether a layer lies at or above `max_window_layers`, by default 28. */
export function isUpperLayer(maxWindowLayers: unknown): (layer: number) => boolean {
  return (layer) => layer >= (typeof maxWindowLayers === "number" ? maxWindowLayers : 28);
}
