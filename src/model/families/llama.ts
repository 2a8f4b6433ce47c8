import { DecoderModel } from "../decoder-model.ts";
import { loadModelRope } from "../layers/rope.ts";
import { layerWindows } from "../layers/windows.ts";
import type { ModelBuilder } from "../model-builder.ts";

/**
 * Llama 1 to 3, SmolLM, SmolLM2 (`LlamaForCausalLM`; Touvron et al. 2023) and Mistral (`MistralForCausalLM`; Jiang et
 * al. 2023), which adds a sliding window in every layer.
 */
export const buildLlama: ModelBuilder = (loader, config, maxModelLen) => {
  const rope = loadModelRope(loader.ops, config, maxModelLen);
  const windows = layerWindows(config, () => true);
  const { attentionBias: hasQkvBias, mlpBias: hasBias } = config;
  return new DecoderModel(loader, config, {
    layer: (index) => ({
      attention: { rope, hasQkvBias, hasOutputBias: hasQkvBias, slidingWindow: windows[index]! },
      mlp: { hasBias },
    }),
  });
};
