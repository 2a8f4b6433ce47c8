import { DecoderModel } from "../decoder-model.ts";
import { loadModelRope } from "../layers/rope.ts";
import type { ModelBuilder } from "../model-builder.ts";

/** OLMo 2 (`Olmo2ForCausalLM`; OLMo Team 2024): norms after the blocks, and on all heads of q and k together. */
export const buildOlmo2: ModelBuilder = (loader, config, maxModelLen) => {
  const rope = loadModelRope(loader.ops, config, maxModelLen);
  const { attentionBias: hasQkvBias } = config;
  return new DecoderModel(loader, config, {
    norms: "post",
    layer: () => ({ attention: { rope, hasQkvBias, hasOutputBias: hasQkvBias, qkNorm: "row" } }),
  });
};
