import { DecoderModel } from "../decoder-model.ts";
import { loadModelRope } from "../layers/rope.ts";
import type { ModelBuilder } from "../model-builder.ts";

/** Gemma and CodeGemma (`GemmaForCausalLM`; Gemma Team 2024): Llama with scaled embeddings, GELU and norms of 1 + w. */
export const buildGemma: ModelBuilder = (loader, config, maxModelLen) => {
  const rope = loadModelRope(loader.ops, config, maxModelLen);
  const { attentionBias: hasQkvBias } = config;
  return new DecoderModel(loader, config, {
    normOffset: 1,
    embeddingScale: Math.sqrt(config.hiddenSize),
    layer: () => ({ attention: { rope, hasQkvBias, hasOutputBias: hasQkvBias } }),
  });
};
