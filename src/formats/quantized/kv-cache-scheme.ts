import { MillraceError } from "../../base/errors.ts";
import { isJsonObject, type JsonObject } from "../json-file.ts";

/** What a checkpoint asks of the KV cache: int8 whose scales are found for each token as it comes, or nothing. */
export type KvCacheScheme = "int8" | null;

/**
 * Reads `kv_cache_scheme` of compressed-tensors from a `quantization_config`. Throws `unsupported_format` for other types
 * of numbers and for scales that are in the file.
 */
export function readKvCacheScheme(quantization: JsonObject): KvCacheScheme {
  const scheme = quantization["kv_cache_scheme"];
  if (!isJsonObject(scheme)) return null;
  const { num_bits: bits = 8, type = "int", symmetric = true, dynamic = false } = scheme;
  if (bits === 8 && type === "int" && symmetric === true && dynamic === true) return "int8";
  throw new MillraceError(
    "unsupported_format",
    `The checkpoint has a kv_cache_scheme of ${JSON.stringify({ num_bits: bits, type, symmetric, dynamic })}, which is not read here. Supported is int8, symmetric, with dynamic scales. Set kv_cache_scheme to null in config.json and choose a type with --kv-cache-dtype.`,
  );
}

/** The same from a whole config.json, where there is none of another method. */
export function kvCacheSchemeOf(config: JsonObject): KvCacheScheme {
  const quantization = config["quantization_config"];
  return isJsonObject(quantization) ? readKvCacheScheme(quantization) : null;
}
