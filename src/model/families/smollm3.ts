import { DecoderModel } from "../decoder-model.ts";
import { loadModelRope } from "../layers/rope.ts";
import { layerWindows } from "../layers/windows.ts";
import type { ModelBuilder } from "../model-builder.ts";
import { maxInterval, readConfig } from "../read-config.ts";

/** SmolLM3 (`SmolLM3ForCausalLM`): every fourth layer has no rotation (Yang et al. 2025, "RoPE to NoPE and back"). */
export const buildSmolLm3: ModelBuilder = (loader, config, maxModelLen) => {
  const table = loadModelRope(loader.ops, config, maxModelLen);
  const read = readConfig(config);
  const interval = read.optionalCount("no_rope_layer_interval", maxInterval) ?? 4;
  const isFlag = (entry: unknown): entry is 0 | 1 => entry === 0 || entry === 1;
  const flags = read.list("no_rope_layers", config.numLayers, isFlag);
  // Despite its name the list has 1 for a layer that rotates.
  const rotates = (layer: number): boolean =>
    (flags?.[layer] ?? ((layer + 1) % interval === 0 ? 0 : 1)) === 1;
  const windows = layerWindows(config, (layer) => !rotates(layer));
  const { attentionBias: hasQkvBias, mlpBias: hasBias } = config;
  return new DecoderModel(loader, config, {
    layer: (index) => ({
      attention: {
        rope: rotates(index) ? table : null,
        hasQkvBias,
        hasOutputBias: hasQkvBias,
        slidingWindow: windows[index]!,
      },
      mlp: { hasBias },
    }),
  });
};
