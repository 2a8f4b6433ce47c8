import { describe, expect, it } from "vitest";
import { MillraceError } from "../base/errors.ts";
import { type ModelConfig, parseModelConfig } from "./model-config.ts";

function parse(json: Readonly<Record<string, unknown>>): ModelConfig {
  return parseModelConfig(json, { file: "folder/config.json", onArchitecture: () => {} });
}

const llama = {
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 64,
  intermediate_size: 160,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  vocab_size: 512,
};

describe("config.json", () => {
  it("with only its required keys gets transformers' defaults", () => {
    expect(parse(llama)).toEqual({
      architecture: "LlamaForCausalLM",
      modelType: "llama",
      hiddenSize: 64,
      intermediateSize: 160,
      numLayers: 2,
      numHeads: 4,
      numKvHeads: 4,
      headDim: 16,
      vocabSize: 512,
      maxPositionEmbeddings: 2048,
      rmsNormEps: 1e-6,
      hiddenAct: "silu",
      rope: { theta: 10_000, partialRotaryFactor: 1, scaling: null },
      slidingWindow: null,
      tieWordEmbeddings: false,
      attentionBias: false,
      mlpBias: false,
      experts: null,
      bosTokenId: null,
      eosTokenIds: [],
      padTokenId: null,
      dtype: null,
      json: llama,
    });
  });

  it("of transformers 4 and of 5 give the same configuration", () => {
    const scaling = {
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 64,
    };
    const four = {
      torch_dtype: "bfloat16",
      rope_theta: 500_000,
      rope_scaling: { rope_type: "llama3", ...scaling },
    };
    const five = {
      dtype: "bfloat16",
      rope_parameters: { rope_type: "llama3", rope_theta: 500_000, ...scaling },
    };
    const [old, current] = [four, five].map((part) => parse({ ...llama, ...part }));
    for (const config of [old!, current!]) {
      expect(config.dtype).toBe("bfloat16");
      expect(config.rope.theta).toBe(500_000);
      expect(config.rope.scaling).toMatchObject({ rope_type: "llama3", ...scaling });
    }
  });

  it("reads the old spelling of the scaling's type, and plain rotation as no scaling", () => {
    expect(parse({ ...llama, rope_scaling: { type: "linear", factor: 2 } }).rope.scaling).toEqual({
      type: "linear",
      rope_type: "linear",
      factor: 2,
    });
    expect(parse({ ...llama, rope_parameters: { rope_type: "default", rope_theta: 5 } }).rope).toEqual({
      theta: 5,
      partialRotaryFactor: 1,
      scaling: null,
    });
    const layered = {
      full_attention: { rope_type: "default", rope_theta: 1e6 },
      sliding_attention: { rope_theta: 1e4 },
    };
    expect(parse({ ...llama, rope_parameters: layered }).rope.theta).toBe(1e6);
  });

  it("takes token ids alone, in lists and absent, and windows only when they are used", () => {
    const config = parse({
      ...llama,
      eos_token_id: [2, 7, 2],
      bos_token_id: 1,
      sliding_window: 16,
      use_sliding_window: false,
    });
    expect([config.eosTokenIds, config.bosTokenId, config.slidingWindow]).toEqual([[2, 7], 1, null]);
    expect(parse({ ...llama, sliding_window: 16, head_dim: 32 })).toMatchObject({
      slidingWindow: 16,
      headDim: 32,
    });
    expect(parse({ ...llama, model_type: "gemma2" }).tieWordEmbeddings).toBe(true);
  });

  it.each([
    ["hidden_size", undefined],
    ["hidden_size", "64"],
    ["hidden_size", 65],
    ["num_hidden_layers", 0],
    ["num_hidden_layers", 1e9],
    ["num_attention_heads", 2.5],
    ["num_key_value_heads", 3],
    ["vocab_size", -1],
    ["rms_norm_eps", 0],
    ["rope_theta", "big"],
    ["tie_word_embeddings", "yes"],
    ["eos_token_id", [1.5]],
    ["architectures", []],
    ["rope_scaling", 4],
    ["dtype", 16],
  ])("with %s = %j is refused by that name", (key, value) => {
    expect(() => parse({ ...llama, [key]: value })).toThrowError(
      expect.objectContaining({
        code: "invalid_model_file",
        message: expect.stringContaining(`folder/config.json has ${key}`),
      }),
    );
  });

  it("of an architecture that is refused is not read any further", () => {
    const refuse = (architecture: string, file: string): void => {
      throw new MillraceError("unsupported_architecture", `${file} is a ${architecture}`);
    };
    for (const rest of [{}, { hidden_size: "wide" }, llama]) {
      const json = { ...rest, architectures: ["MambaForCausalLM"] };
      expect(() => parseModelConfig(json, { file: "m/config.json", onArchitecture: refuse })).toThrowError(
        "m/config.json is a MambaForCausalLM",
      );
    }
  });
});
