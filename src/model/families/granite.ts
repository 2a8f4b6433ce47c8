import { DecoderModel } from "../decoder-model.ts";
import { loadModelRope } from "../layers/rope.ts";
import type { ModelBuilder } from "../model-builder.ts";
import { readConfig } from "../read-config.ts";

/** Granite 3 (`GraniteForCausalLM`): Llama with four multipliers (Yang et al. 2022, "Tensor Programs V"). */
export const buildGranite: ModelBuilder = (loader, config, maxModelLen) => {
  const rope = loadModelRope(loader.ops, config, maxModelLen);
  const read = readConfig(config);
  const scale = read.positive("attention_multiplier", 1);
  const { attentionBias: hasQkvBias, mlpBias: hasBias } = config;
  return new DecoderModel(loader, config, {
    embeddingScale: read.positive("embedding_multiplier", 1),
    residualScale: read.positive("residual_multiplier", 1),
    logitScale: 1 / read.positive("logits_scaling", 1),
    layer: () => ({
      attention: { rope, scale, hasQkvBias, hasOutputBias: hasQkvBias },
      mlp: { hasBias },
    }),
  });
};
