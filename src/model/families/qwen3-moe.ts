import type { ModelConfig } from "../../formats/model-config.ts";
import { DecoderModel } from "../decoder-model.ts";
import { loadModelRope } from "../layers/rope.ts";
import { layerWindows } from "../layers/windows.ts";
import type { ModelBuilder } from "../model-builder.ts";
import { maxInterval, readConfig } from "../read-config.ts";

/** Qwen3 with experts (`Qwen3MoeForCausalLM`): some layers may keep one dense block. */
export const buildQwen3Moe: ModelBuilder = (loader, config, maxModelLen) => {
  const rope = loadModelRope(loader.ops, config, maxModelLen);
  const windows = layerWindows(config, () => true);
  const normalize = readConfig(config).flag("norm_topk_prob") ?? false;
  const isSparse = sparseLayers(config);
  const { attentionBias: hasQkvBias, experts } = config;
  return new DecoderModel(loader, config, {
    layer: (index) => ({
      attention: {
        rope,
        hasQkvBias,
        hasOutputBias: hasQkvBias,
        slidingWindow: windows[index]!,
        qkNorm: "head",
      },
      ...(experts !== null && isSparse(index) ? { moe: { module: "mlp", experts, normalize } } : {}),
    }),
  });
};

/** Layers with experts: every `decoder_sparse_step`-th but those of `mlp_only_layers`. */
function sparseLayers(config: ModelConfig): (layer: number) => boolean {
  const read = readConfig(config);
  const step = read.optionalCount("decoder_sparse_step", maxInterval) ?? 1;
  const dense = read.value("mlp_only_layers") ?? [];
  if (!Array.isArray(dense)) return read.fail("mlp_only_layers", "a list of layer numbers");
  return (layer) => (layer + 1) % step === 0 && !dense.includes(layer);
}
