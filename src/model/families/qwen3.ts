import { DecoderModel } from "../decoder-model.ts";
import { loadModelRope } from "../layers/rope.ts";
import { layerWindows } from "../layers/windows.ts";
import type { ModelBuilder } from "../model-builder.ts";
import { readConfig } from "../read-config.ts";
import { isUpperLayer } from "./qwen2.ts";

/** Qwen3 (`Qwen3ForCausalLM`): norms on each head of q and k. */
export const buildQwen3: ModelBuilder = (loader, config, maxModelLen) => {
  const rope = loadModelRope(loader.ops, config, maxModelLen);
  const windows = layerWindows(config, isUpperLayer(readConfig(config).value("max_window_layers")));
  const { attentionBias: hasQkvBias } = config;
  return new DecoderModel(loader, config, {
    layer: (index) => ({
      attention: {
        rope,
        hasQkvBias,
        hasOutputBias: hasQkvBias,
        slidingWindow: windows[index]!,
        qkNorm: "head",
      },
    }),
  });
};
