import { DecoderModel } from "../decoder-model.ts";
import { loadModelRope } from "../layers/rope.ts";
import { layerWindows } from "../layers/windows.ts";
import type { ModelBuilder } from "../model-builder.ts";
import { readConfig } from "../read-config.ts";

/**
 * Gemma 2 (`Gemma2ForCausalLM`; Gemma Team 2024): scaled embeddings, norms around both blocks, soft caps on scores and
 * logits, a window in every other layer.
 */
export const buildGemma2: ModelBuilder = (loader, config, maxModelLen) => {
  const rope = loadModelRope(loader.ops, config, maxModelLen);
  const windows = layerWindows(config, (layer) => layer % 2 === 0);
  const read = readConfig(config);
  /** Absent means the default, null means none. */
  const cap = (key: string, fallback: number): number =>
    key in config.json ? (read.optionalPositive(key) ?? 0) : fallback;
  const softCap = cap("attn_logit_softcapping", 50);
  const scale = read.positive("query_pre_attn_scalar", 256) ** -0.5;
  const { attentionBias: hasQkvBias } = config;
  return new DecoderModel(loader, config, {
    norms: "both",
    normOffset: 1,
    embeddingScale: Math.sqrt(config.hiddenSize),
    logitSoftCap: cap("final_logit_softcapping", 30),
    layer: (index) => ({
      attention: {
        rope,
        scale,
        softCap,
        slidingWindow: windows[index]!,
        hasQkvBias,
        hasOutputBias: hasQkvBias,
      },
    }),
  });
};
