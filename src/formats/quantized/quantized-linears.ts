import { MillraceError } from "../../base/errors.ts";
import type { Weight, WeightForm } from "../../base/weights.ts";
import { isJsonObject, type JsonObject } from "../json-file.ts";
import type { TensorReader } from "../stored-tensor.ts";
import { awqLinears } from "./awq.ts";
import { bitsAndBytesLinears } from "./bitsandbytes.ts";
import { compressedTensorsLinears } from "./compressed-tensors.ts";
import { fp8Linears } from "./fp8.ts";
import { gptqLinears } from "./gptq.ts";

/** How the linears of a quantised safetensors checkpoint are read. */
export interface QuantizedLinears {
  /** For people: "compressed-tensors W4A16 g32", "GPTQ W4A16 g128". */
  readonly label: string;
  /** How the name of every packed matrix ends, in a format in which some are; null where all may be dense. */
  readonly packedSuffix: ".qweight" | null;
  /** The matrix of a module with its integers and scales unchanged, or null for one that stays dense. */
  read(module: string, tensors: TensorReader): Weight | null;
  /**
   * What `read` will give, from headers and the few bytes in which a format says a shape; null for a module that stays
   * dense. Throws what `read` throws, but for faults of values.
   */
  form(module: string, tensors: TensorReader): WeightForm | null;
}

/** By `quant_method` of `quantization_config`. */
const methods: Readonly<Record<string, (config: JsonObject) => QuantizedLinears>> = {
  "compressed-tensors": compressedTensorsLinears,
  gptq: gptqLinears,
  awq: awqLinears,
  bitsandbytes: bitsAndBytesLinears,
  fp8: fp8Linears,
  fbgemm_fp8: fp8Linears,
};

/** What else is in use, and what to take instead. */
const refusedMethods: Readonly<Record<string, string>> = {
  aqlm: "a GPTQ or AWQ checkpoint",
  aqt: "the float checkpoint",
  bitnet: "the float checkpoint",
  eetq: "the float checkpoint with `millrace quantize --scheme w8a8`",
  higgs: "a GPTQ or AWQ checkpoint",
  hqq: "a GPTQ or AWQ checkpoint",
  "auto-round": "its GPTQ or AWQ export",
  marlin: "a GPTQ checkpoint of checkpoint_format gptq",
  modelopt: "a compressed-tensors FP8 checkpoint",
  mxfp4: "a GGUF file (Q8_0, Q4_K_M) or the float checkpoint",
  quanto: "the float checkpoint with `millrace quantize`",
  quark: "a compressed-tensors checkpoint",
  quip: "a GPTQ or AWQ checkpoint",
  spqr: "a GPTQ or AWQ checkpoint",
  torchao: "a compressed-tensors checkpoint",
  vptq: "a GPTQ or AWQ checkpoint",
};

/**
 * Reads `quantization_config` (or the older key `compression_config`) of config.json; null where there is none.
 * Throws `unsupported_format` for every method, number type or option that would change the numbers and is not
 * read here, and `invalid_model_file` for values of the wrong kind.
 */
export function readQuantization(config: JsonObject): QuantizedLinears | null {
  const json = config["quantization_config"] ?? config["compression_config"] ?? null;
  if (json === null) return null;
  if (!isJsonObject(json)) {
    throw new MillraceError(
      "invalid_model_file",
      `quantization_config is ${JSON.stringify(json).slice(0, 80)}; it must be an object. Correct config.json or fetch it again.`,
    );
  }
  if (json["quant_method"] === undefined && json["config_groups"] === undefined) {
    throw new MillraceError(
      "invalid_model_file",
      `quantization_config has neither quant_method nor config_groups; quant_method is one of ${Object.keys(methods).join(", ")}. Correct config.json or fetch it again.`,
    );
  }
  const method = json["quant_method"] ?? "compressed-tensors";
  const known = typeof method === "string" && Object.hasOwn(methods, method) ? methods[method] : undefined;
  if (known !== undefined) return known(json);
  const instead =
    typeof method === "string" && Object.hasOwn(refusedMethods, method)
      ? refusedMethods[method]
      : "a checkpoint of one of these kinds, or a GGUF file";
  throw new MillraceError(
    "unsupported_format",
    `The checkpoint uses quant_method ${JSON.stringify(method)}, which is not read here; ${Object.keys(methods).join(", ")} are. Use ${instead}.`,
  );
}
