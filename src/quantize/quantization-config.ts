import type { LinearScheme } from "./linear-scheme.ts";

/** The version of compressed-tensors whose layout is written; its files are what the tests compare with. */
const layoutVersion = "0.19.0";

/** What a writer says of how scales were found. */
export interface ConfigOptions {
  /** Modules of matrices that stay floats. */
  readonly dense: readonly string[];
  /** A name of llm-compressor's for how the range of a group is seen, or null where that is not known. */
  readonly observer: string | null;
  /** Asks servers for a KV cache in int8, a scale for each token found as it comes. Default: asks for nothing. */
  readonly hasInt8KvCache?: boolean;
}

/**
 * `quantization_config` of compressed-tensors for linears of one or several schemes, or null for none: the scheme of
 * most linears is that of the class "Linear", each other one names its modules.
 */
export function quantizationConfig(
  schemes: ReadonlyMap<string, LinearScheme>,
  { dense, observer, hasInt8KvCache = false }: ConfigOptions,
): Readonly<Record<string, unknown>> | null {
  if (schemes.size === 0) return null;
  const groups = new Map<string, { readonly scheme: LinearScheme; readonly modules: string[] }>();
  for (const [module, scheme] of schemes) {
    const key = JSON.stringify(scheme);
    const group = groups.get(key) ?? { scheme, modules: [] };
    group.modules.push(module);
    groups.set(key, group);
  }
  const ordered = [...groups.values()].toSorted((a, b) => b.modules.length - a.modules.length);
  const formats = new Set(ordered.map(({ scheme }) => scheme.format));
  const entries = ordered.map(({ scheme, modules }, index) => [
    `group_${index}`,
    describeGroup(scheme, index === 0 ? ["Linear"] : modules.toSorted(), observer),
  ]);
  return {
    config_groups: Object.fromEntries(entries) as Record<string, unknown>,
    format: formats.size === 1 ? [...formats][0] : "mixed-precision",
    global_compression_ratio: null,
    // A tied head is a Linear without a tensor of its own.
    ignore: [...new Set([...dense.filter((module) => !module.endsWith("embed_tokens")), "lm_head"])]
      .filter((module) => !schemes.has(module))
      .toSorted(),
    kv_cache_scheme: hasInt8KvCache
      ? { ...quantizationArguments(8), dynamic: true, strategy: "token" }
      : null,
    quant_method: "compressed-tensors",
    quantization_status: "compressed",
    sparsity_config: {},
    transform_config: {},
    version: layoutVersion,
  };
}

function describeGroup(
  scheme: LinearScheme,
  targets: readonly string[],
  observer: string | null,
): Record<string, unknown> {
  const { format, bits, groupSize, symmetric, activations } = scheme;
  const isToken = activations === "int8-token";
  return {
    format,
    input_activations: isToken ? { ...quantizationArguments(8), dynamic: true, strategy: "token" } : null,
    output_activations: null,
    targets,
    weights: {
      ...quantizationArguments(bits),
      dynamic: false,
      group_size: groupSize,
      observer,
      strategy: groupSize === null ? "channel" : "group",
      symmetric,
      zp_dtype: symmetric ? null : "torch.int8",
    },
  };
}

/** Arguments that say nothing but the number of bits. */
function quantizationArguments(bits: number): Record<string, unknown> {
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
