import type { Scheme } from "./scheme.ts";

/** The version of compressed-tensors whose layout is written; its files are what the tests compare with. */
export const layoutVersion = "0.19.0";

/**
 * `quantization_config` of config.json (compressed-tensors): every `Linear` but those of `ignore` follows one scheme.
 *
 * @param ignore modules of the class Linear that stay dense
 */
export function compressedTensorsConfig(
  scheme: Scheme,
  groupSize: number | null,
  ignore: readonly string[],
): Record<string, unknown> {
  const weights = {
    ...quantizationArguments(scheme.weightBits),
    dynamic: false,
    group_size: groupSize,
    observer: "memoryless_minmax",
    strategy: groupSize === null ? "channel" : "group",
  };
  const activations = { ...quantizationArguments(8), dynamic: true, strategy: "token" };
  return {
    config_groups: {
      group_0: {
        format: scheme.format,
        input_activations: scheme.activations === "int8-token" ? activations : null,
        output_activations: null,
        targets: ["Linear"],
        weights,
      },
    },
    format: scheme.format,
    global_compression_ratio: null,
    ignore: [...ignore],
    kv_cache_scheme: null,
    quant_method: "compressed-tensors",
    quantization_status: "compressed",
    sparsity_config: {},
    transform_config: {},
    version: layoutVersion,
  };
}

/** Arguments that say nothing but the number of bits. */
export function quantizationArguments(bits: number): Record<string, unknown> {
  return {
    actorder: null,
    block_structure: null,
    group_size: null,
    num_bits: bits,
    observer: null,
    observer_kwargs: {},
    scale_dtype: null,
    symmetric: true,
    type: "int",
    zp_dtype: null,
  };
}
