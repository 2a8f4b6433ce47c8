import { isJsonObject } from "../../formats/json-file.ts";
import type { ModelConfig, RopeConfig } from "../../formats/model-config.ts";
import { DecoderModel } from "../decoder-model.ts";
import { loadModelRope } from "../layers/rope.ts";
import { layerWindows } from "../layers/windows.ts";
import type { ModelBuilder } from "../model-builder.ts";
import { maxInterval, readConfig } from "../read-config.ts";

/**
 * Gemma 3, text only (`Gemma3ForCausalLM`; Gemma Team 2025): norms on q and k in place of the soft caps, five of six
 * layers with a window, and a rotation of their own for those.
 */
export const buildGemma3: ModelBuilder = (loader, config, maxModelLen) => {
  const read = readConfig(config);
  if (read.flag("use_bidirectional_attention")) {
    read.refuse("use_bidirectional_attention", "causal attention");
  }
  const globalRope = loadModelRope(loader.ops, config, maxModelLen);
  const localRope = loadModelRope(loader.ops, config, maxModelLen, localRotation(config));
  const pattern =
    read.optionalCount("sliding_window_pattern", maxInterval) ??
    read.optionalCount("_sliding_window_pattern", maxInterval) ??
    6;
  const windows = layerWindows(config, (layer) => (layer + 1) % pattern !== 0);
  const scale = read.positive("query_pre_attn_scalar", 256) ** -0.5;
  const softCap = read.positive("attn_logit_softcapping", 0);
  const { attentionBias: hasQkvBias } = config;
  return new DecoderModel(loader, config, {
    norms: "both",
    normOffset: 1,
    embeddingScale: Math.sqrt(config.hiddenSize),
    logitSoftCap: read.positive("final_logit_softcapping", 0),
    layer: (index) => ({
      attention: {
        rope: windows[index]! > 0 ? localRope : globalRope,
        scale,
        softCap,
        slidingWindow: windows[index]!,
        hasQkvBias,
        hasOutputBias: hasQkvBias,
        qkNorm: "head",
      },
    }),
  });
};

/** The rotation of layers with a window: transformers 5 nests it, transformers 4 gives only its base. */
function localRotation(config: ModelConfig): Pick<RopeConfig, "theta" | "scaling"> {
  const read = readConfig(config);
  const nested = read.object("rope_parameters")?.["sliding_attention"];
  if (!isJsonObject(nested)) return { theta: read.positive("rope_local_base_freq", 10_000), scaling: null };
  const theta = nested["rope_theta"];
  if (typeof theta !== "number")
    return read.fail("rope_parameters", "an object with a rope_theta for each kind");
  return { theta, scaling: nested };
}
