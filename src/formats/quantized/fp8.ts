import { MillraceError } from "../../base/errors.ts";
import type { JsonObject } from "../json-file.ts";
import type { TensorReader } from "../stored-tensor.ts";
import { checkFloat8, readFloat8 } from "./float8.ts";
import { isExcluded, moduleList } from "./modules.ts";
import type { QuantizedLinears } from "./quantized-linears.ts";

/**
 * FP8 checkpoints of transformers: `fp8` (DeepSeek V3, Qwen3 FP8) with `weight_scale_inv` for each block, and
 * `fbgemm_fp8` with `weight_scale` for each row. Activations stay as they are: the file's float8 ones would lose more.
 * Throws `unsupported_format` or `invalid_model_file`.
 */
export function fp8Linears(config: JsonObject): QuantizedLinears {
  const block = blockSize(config["weight_block_size"] ?? null);
  const excluded = moduleList(config["modules_to_not_convert"]);
  const isFloat8 = (module: string, tensors: TensorReader): boolean =>
    !isExcluded(module, excluded) &&
    tensors.has(`${module}.weight`) &&
    tensors.header(`${module}.weight`).dtype === "F8_E4M3";
  const label = block === null ? "per row or tensor" : `${block[0]}×${block[1]} blocks`;
  return {
    label: `FP8 ${label}, activations not rounded`,
    packedSuffix: null,
    form: (module, tensors) => {
      if (!isFloat8(module, tensors)) return null;
      const scale = scaleOf(module, tensors);
      const shape = checkFloat8(
        tensors.header(`${module}.weight`),
        tensors.header(scale),
        isInBlocks(scale) ? block : null,
      );
      return { kind: "dense", ...shape, dtype: "f32", isWidened: true };
    },
    read: (module, tensors) => {
      if (!isFloat8(module, tensors)) return null;
      const name = scaleOf(module, tensors);
      const [weight, scale] = [tensors.tensor(`${module}.weight`), tensors.tensor(name)];
      const own = isInBlocks(name) ? block : null;
      checkFloat8(weight, scale, own);
      return readFloat8(weight, scale, own);
    },
  };
}

function scaleOf(module: string, tensors: TensorReader): string {
  const names = [`${module}.weight_scale_inv`, `${module}.weight_scale`];
  return names.find((name) => tensors.has(name)) ?? names[0]!;
}

function isInBlocks(scale: string): boolean {
  return scale.endsWith("_inv");
}

function blockSize(value: unknown): readonly [number, number] | null {
  if (value === null) return null;
  const isSize = (size: unknown): boolean => Number.isInteger(size) && (size as number) > 0;
  if (Array.isArray(value) && value.length === 2 && value.every(isSize)) return value as [number, number];
  throw new MillraceError(
    "invalid_model_file",
    `quantization_config has weight_block_size = ${JSON.stringify(value).slice(0, 80)}; it must be two whole numbers, rows and columns. Correct config.json or fetch it again.`,
  );
}
