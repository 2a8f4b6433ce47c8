import { layoutVersion, quantizationArguments } from "../quantize/compressed-tensors-config.ts";
import type { LinearScheme } from "./compressed-linear.ts";

/**
 * `quantization_config` of compressed-tensors for linears of one or several schemes, or null for none: one group for
 * "Linear" where all agree, else a group with the names of its modules for each.
 *
 * @param dense modules of matrices that stay floats
 */
export function quantizationConfig(
  schemes: ReadonlyMap<string, LinearScheme>,
  dense: readonly string[],
): Readonly<Record<string, unknown>> | null {
  if (schemes.size === 0) return null;
  const groups = new Map<string, { readonly scheme: LinearScheme; readonly modules: string[] }>();
  for (const [module, scheme] of schemes) {
    const key = JSON.stringify(scheme);
    const group = groups.get(key) ?? { scheme, modules: [] };
    group.modules.push(module);
    groups.set(key, group);
  }
  const isOne = groups.size === 1;
  const formats = new Set([...groups.values()].map(({ scheme }) => scheme.format));
  const entries = [...groups.values()].map(({ scheme, modules }, index) => [
    `group_${index}`,
    describeGroup(scheme, isOne ? ["Linear"] : modules.toSorted()),
  ]);
  return {
    config_groups: Object.fromEntries(entries) as Record<string, unknown>,
    format: formats.size === 1 ? [...formats][0] : "mixed-precision",
    global_compression_ratio: null,
    // A tied head is a Linear without a tensor of its own.
    ignore: [...new Set([...dense.filter((module) => !module.endsWith("embed_tokens")), "lm_head"])]
      .filter((module) => !schemes.has(module))
      .toSorted(),
    kv_cache_scheme: null,
    quant_method: "compressed-tensors",
    quantization_status: "compressed",
    sparsity_config: {},
    transform_config: {},
    version: layoutVersion,
  };
}

function describeGroup(scheme: LinearScheme, targets: readonly string[]): Record<string, unknown> {
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
      strategy: groupSize === null ? "channel" : "group",
      symmetric,
    },
  };
}
