import { DecoderModel } from "../decoder-model.ts";
import { loadModelRope } from "../layers/rope.ts";
import { layerWindows } from "../layers/windows.ts";
import type { ModelBuilder } from "../model-builder.ts";
import { readConfig } from "../read-config.ts";

/** Mixtral (`MixtralForCausalLM`; Jiang et al. 2024): Mistral with experts in every layer. */
export const buildMixtral: ModelBuilder = (loader, config, maxModelLen) => {
  const rope = loadModelRope(loader.ops, config, maxModelLen);
  const windows = layerWindows(config, () => true);
  const experts = config.experts ?? readConfig(config).fail("num_local_experts", "a whole number above 0");
  return new DecoderModel(loader, config, {
    layer: (index) => ({
      attention: { rope, slidingWindow: windows[index]! },
      moe: { module: "block_sparse_moe", names: ["w1", "w3", "w2"], experts, normalize: true },
    }),
  });
};
