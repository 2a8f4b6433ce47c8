import { DecoderModel } from "../decoder-model.ts";
import { loadModelRope } from "../layers/rope.ts";
import { layerWindows } from "../layers/windows.ts";
import type { ModelBuilder } from "../model-builder.ts";

/** Phi-3 and Phi-4-mini (`Phi3ForCausalLM`): q, k, v and gate, up are one matrix each in the file. */
export const buildPhi3: ModelBuilder = (loader, config, maxModelLen) => {
  const rope = loadModelRope(loader.ops, config, maxModelLen);
  const windows = layerWindows(config, () => true);
  return new DecoderModel(loader, config, {
    layer: (index) => ({
      attention: { rope, slidingWindow: windows[index]!, isFused: true },
      mlp: { isFused: true },
    }),
  });
};
