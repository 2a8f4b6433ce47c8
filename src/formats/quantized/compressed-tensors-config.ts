import { MillraceError } from "../../base/errors.ts";
import { isJsonObject, type JsonObject } from "../json-file.ts";
import { readKvCacheScheme } from "./kv-cache-scheme.ts";

/** How one linear is stored, from a group of `quantization_config.config_groups` (compressed-tensors). */
export interface QuantizationScheme {
  /** "int-quantized": one byte an element; "pack-quantized": bits packed into 32-bit words; "float-quantized": float8. */
  readonly format: "int-quantized" | "pack-quantized" | "float-quantized";
  readonly bits: number;
  readonly symmetric: boolean;
  /** Columns of one scale; null for one scale per row, or one for the whole matrix. */
  readonly groupSize: number | null;
  /** Rows and columns of one scale of float8 weights in blocks; else null. */
  readonly block: readonly [rows: number, cols: number] | null;
  readonly activations: "int8-token" | "unspecified";
}

/** Which linears are quantised and how. */
export interface CompressedTensorsConfig {
  /** "compressed-tensors W4A16 g32". */
  readonly label: string;
  /** The scheme of a module, or null when it stays dense. */
  schemeOf(module: string): QuantizationScheme | null;
}

export interface Target {
  /** 0 for an exact name, 1 for a pattern, 2 for a class: the more exact one counts, then the first. */
  readonly rank: number;
  readonly matches: (module: string, className: string) => boolean;
}

interface Group {
  readonly targets: readonly Target[];
  readonly scheme: QuantizationScheme;
}

const supported =
  "compressed-tensors with integer weights of 2, 3, 4 or 8 bits (int-quantized, pack-quantized) and with float8 E4M3 weights (float-quantized)";

/**
 * Reads a `quantization_config` of compressed-tensors. Throws `unsupported_format` for every number type or option
 * that would change the numbers and is not read here, and `invalid_model_file` for values of the wrong kind.
 */
export function parseCompressedTensors(json: JsonObject): CompressedTensorsConfig {
  refuseExtras(json);
  const groups = parseGroups(json);
  const ignored = stringList(json["ignore"] ?? [], "ignore").map(targetOf);
  const targets = groups
    .flatMap(({ targets: own, scheme }) => own.map((target) => ({ ...target, scheme })))
    .toSorted((a, b) => a.rank - b.rank);
  return {
    label: `compressed-tensors ${[...new Set(groups.map((group) => labelOf(group.scheme)))].join(" + ") || "dense"}`,
    schemeOf(module) {
      const className = /(^|\.)(embed_tokens|wte|word_embeddings)$/.test(module) ? "Embedding" : "Linear";
      if (ignored.some(({ matches }) => matches(module, className))) return null;
      return targets.find(({ matches }) => matches(module, className))?.scheme ?? null;
    },
  };
}

/** Refuses what lies outside the groups and would change the model's numbers. */
function refuseExtras(json: JsonObject): void {
  const sparsity = json["sparsity_config"];
  if (isJsonObject(sparsity) && (sparsity["format"] ?? "dense") !== "dense") {
    throw refused(
      `sparsity_config with format ${show(sparsity["format"])}`,
      "Use a checkpoint without 2:4 sparsity",
    );
  }
  readKvCacheScheme(json);
  const transforms = isJsonObject(json["transform_config"])
    ? json["transform_config"]["config_groups"]
    : undefined;
  if (!isJsonObject(transforms)) return;
  for (const transform of Object.values(transforms)) {
    const applied: unknown = isJsonObject(transform) ? transform["apply"] : undefined;
    for (const place of Array.isArray(applied) ? (applied as unknown[]) : []) {
      const location = isJsonObject(place) ? place["location"] : undefined;
      if (location !== "weight_input" && location !== "weight_output") {
        throw refused(
          `an online transform at ${show(location)}`,
          "Use a checkpoint whose rotations are folded into the weights",
        );
      }
    }
  }
}

function parseGroups(json: JsonObject): Group[] {
  const groups = json["config_groups"] ?? {};
  if (!isJsonObject(groups)) throw invalid("config_groups", groups, "an object");
  return Object.entries(groups).flatMap(([name, group]) => {
    if (!isJsonObject(group)) throw invalid(name, group, "an object");
    const format = group["format"] ?? json["format"] ?? null;
    if (format === "dense" || (group["weights"] ?? null) === null) return [];
    const targets = stringList(group["targets"], `${name}.targets`).map(targetOf);
    return [{ targets, scheme: parseScheme(name, group, format) }];
  });
}

function parseScheme(name: string, group: JsonObject, format: unknown): QuantizationScheme {
  const weights = group["weights"];
  if (!isJsonObject(weights)) throw invalid(`${name}.weights`, weights, "an object");
  if ((group["output_activations"] ?? null) !== null) {
    throw refused("output_activations", "Use a checkpoint that quantises weights and inputs only");
  }
  const type = weights["type"] ?? "int";
  if (type === "float" && weights["num_bits"] === 8) return parseFloat8(name, group, weights, format);
  if (type !== "int") {
    throw refused(
      `weights of type ${show(type)} and ${show(weights["num_bits"])} bits (format ${show(format)})`,
      "Use an int8 or int4 checkpoint, or the original float one",
    );
  }
  const activations = parseActivations(group["input_activations"] ?? null);
  const layout = format === "naive-quantized" ? "int-quantized" : (format ?? defaultFormat(group));
  if (layout !== "int-quantized" && layout !== "pack-quantized") {
    throw refused(`format ${show(layout)}`, "Use an int-quantized or pack-quantized checkpoint");
  }
  const bits = weights["num_bits"] ?? 8;
  const allowed = layout === "pack-quantized" ? [2, 3, 4, 8] : [1, 2, 3, 4, 5, 6, 7, 8];
  if (typeof bits !== "number" || !allowed.includes(bits))
    throw refused(`${layout} weights of ${show(bits)} bits`, `It reads ${allowed.join(", ")} bits`);
  const symmetric = weights["symmetric"] !== false;
  return {
    format: layout,
    bits,
    symmetric,
    groupSize: parseGroupSize(name, weights),
    block: null,
    activations,
  };
}

/** Float8 activations are not rounded here, whatever the file says of them: that would only lose. */
function parseFloat8(
  name: string,
  group: JsonObject,
  weights: JsonObject,
  format: unknown,
): QuantizationScheme {
  const inputs = group["input_activations"] ?? null;
  if (inputs !== null && (!isJsonObject(inputs) || inputs["type"] !== "float"))
    throw refused(
      `float8 weights with input activations ${show(inputs)}`,
      "Use float8 or no input activations",
    );
  if (format !== null && format !== "float-quantized" && format !== "naive-quantized")
    throw refused(`float8 weights of format ${show(format)}`, "Use a float-quantized checkpoint");
  const own = { format: "float-quantized", bits: 8, symmetric: true, activations: "unspecified" } as const;
  if (weights["strategy"] !== "block") {
    const groupSize = parseGroupSize(name, weights);
    if (groupSize === null) return { ...own, groupSize, block: null };
    throw refused(`float8 weights in groups of ${groupSize}`, "It reads tensor, channel and block");
  }
  const structure = weights["block_structure"];
  const sizes = typeof structure === "string" ? structure.split("x").map(Number) : structure;
  const isSize = (size: unknown): boolean => Number.isInteger(size) && (size as number) > 0;
  if (!Array.isArray(sizes) || sizes.length !== 2 || !sizes.every(isSize))
    throw invalid(`${name}.weights.block_structure`, structure, "two whole numbers, rows and columns");
  return { ...own, groupSize: null, block: sizes as [number, number] };
}

/** compressed-tensors' own choice where no format is named: integers with activations one by one, alone packed. */
function defaultFormat(group: JsonObject): string {
  return (group["input_activations"] ?? null) === null ? "pack-quantized" : "int-quantized";
}

function parseGroupSize(name: string, weights: JsonObject): number | null {
  const size = weights["group_size"] ?? null;
  const strategy =
    weights["strategy"] ??
    (typeof size === "number" && size > 0 ? "group" : size === -1 ? "channel" : "tensor");
  if (strategy === "channel" || strategy === "tensor") return null;
  if (strategy !== "group")
    throw refused(`weight strategy ${show(strategy)}`, "It reads tensor, channel and group");
  if (typeof size !== "number" || !Number.isInteger(size) || size < 1)
    throw invalid(`${name}.weights.group_size`, size, "a whole number above 0");
  return size;
}

function parseActivations(args: unknown): "int8-token" | "unspecified" {
  if (args === null) return "unspecified";
  if (!isJsonObject(args)) throw invalid("input_activations", args, "an object or null");
  const isDynamicInt8 =
    (args["type"] ?? "int") === "int" &&
    args["num_bits"] === 8 &&
    args["dynamic"] === true &&
    args["symmetric"] !== false &&
    (args["strategy"] ?? "token") === "token";
  if (isDynamicInt8) return "int8-token";
  const { type = "int", num_bits: bits, dynamic, symmetric, strategy } = args;
  throw refused(
    `input activations ${JSON.stringify({ type, bits, dynamic, symmetric, strategy })}`,
    "It reads dynamic symmetric int8 with one scale for each token",
  );
}

/** Exact module name, class name, or "re:" and a pattern anchored at the start. */
export function targetOf(target: string): Target {
  if (!target.startsWith("re:")) {
    const isClass = /^[A-Z]\w*$/.test(target);
    return {
      rank: isClass ? 2 : 0,
      matches: (module, className) => target === (isClass ? className : module),
    };
  }
  let pattern: RegExp;
  try {
    pattern = new RegExp(`^(?:${target.slice(3)})`);
  } catch (error) {
    throw new MillraceError(
      "invalid_model_file",
      `quantization_config has a target ${show(target)} that is no pattern; correct it.`,
      { cause: error },
    );
  }
  return { rank: 1, matches: (module) => pattern.test(module) };
}

function stringList(value: unknown, key: string): string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  throw invalid(key, value, "a list of strings");
}

function labelOf(scheme: QuantizationScheme): string {
  if (scheme.format === "float-quantized") return "FP8, activations not rounded";
  const activations = scheme.activations === "int8-token" ? 8 : 16;
  const group = scheme.groupSize === null ? "" : ` g${scheme.groupSize}`;
  return `W${scheme.bits}A${activations}${group}${scheme.symmetric ? "" : " asym"}`;
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? "nothing";
}

function refused(what: string, advice: string): MillraceError {
  return new MillraceError(
    "unsupported_format",
    `The checkpoint uses ${what}, which is not read here. Supported: ${supported}. ${advice}.`,
  );
}

function invalid(key: string, value: unknown, allowed: string): MillraceError {
  return new MillraceError(
    "invalid_model_file",
    `quantization_config has ${key} = ${show(value).slice(0, 80)}; it must be ${allowed}. Correct config.json or fetch it again.`,
  );
}
