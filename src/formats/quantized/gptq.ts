import { MillraceError } from "../../base/errors.ts";
import type { Weight, WeightForm } from "../../base/weights.ts";
import type { JsonObject } from "../json-file.ts";
import type { TensorReader } from "../stored-tensor.ts";
import { unfit } from "./check-header.ts";
import {
  checkGroupIndex,
  checkScales,
  groupedForm,
  scalesOf,
  toIntegerWeight,
  withGroupOrder,
} from "./grouped-integers.ts";
import { transposeWords, unpackBits } from "./packed-integers.ts";
import type { QuantizedLinears } from "./quantized-linears.ts";

const readBits: ReadonlySet<number> = new Set([2, 3, 4, 8]);

/**
 * GPTQ checkpoints (AutoGPTQ, GPTQModel) of `checkpoint_format` gptq, whose zero points are stored one too low, and
 * gptq_v2. Bits and group size are taken from the tensors' shapes, so that overrides for single modules need not be
 * looked up. Throws `unsupported_format`.
 */
export function gptqLinears(config: JsonObject): QuantizedLinears {
  const format = config["checkpoint_format"] ?? config["format"] ?? "gptq";
  if (format !== "gptq" && format !== "gptq_v2") {
    throw new MillraceError(
      "unsupported_format",
      `The checkpoint has GPTQ weights of checkpoint_format ${JSON.stringify(format)}; gptq and gptq_v2 are read here. Convert it with GPTQModel, or use an AWQ or GGUF copy.`,
    );
  }
  const { bits, group_size: groupSize } = config;
  return {
    label: `GPTQ W${String(bits)}A16 g${String(groupSize)}${config["desc_act"] === true ? " act-order" : ""}`,
    packedSuffix: ".qweight",
    form: (module, tensors) => (tensors.has(`${module}.qweight`) ? formOf(module, tensors, config) : null),
    read: (module, tensors) =>
      tensors.has(`${module}.qweight`) ? readModule(module, tensors, format === "gptq" ? 1 : 0) : null,
  };
}

/** A linear as far as headers tell. */
interface Layout {
  readonly rows: number;
  readonly cols: number;
  readonly bits: number;
  readonly numGroups: number;
}

function layoutOf(module: string, tensors: TensorReader): Layout {
  const weight = tensors.header(`${module}.qweight`);
  const zeros = tensors.header(`${module}.qzeros`);
  const [words = 0, rows = 0] = weight.shape;
  const [numGroups = 0, zeroWords = 0] = zeros.shape;
  const bits = (zeroWords * 32) / rows;
  const cols = (words * 32) / bits;
  if (!readBits.has(bits)) {
    throw new MillraceError(
      "unsupported_format",
      `${module} has GPTQ weights of ${bits} bits; 2, 3, 4 and 8 are read here. Use a 4- or 8-bit checkpoint.`,
    );
  }
  const isWhole = Number.isInteger(cols) && cols % numGroups === 0 && cols % 2 === 0;
  if (weight.dtype !== "I32" || weight.shape.length !== 2 || !isWhole)
    throw unfit(weight, "I32 [columns · bits / 32, rows] with whole groups");
  if (zeros.dtype !== "I32") throw unfit(zeros, "I32 [groups, rows · bits / 32]");
  checkScales(tensors.header(`${module}.scales`), numGroups, rows);
  const order = `${module}.g_idx`;
  if (tensors.has(order)) checkGroupIndex(tensors.header(order), cols);
  return { rows, cols, bits, numGroups };
}

function formOf(module: string, tensors: TensorReader, config: JsonObject): WeightForm {
  const { dtype } = tensors.header(`${module}.scales`);
  const form = groupedForm({ ...layoutOf(module, tensors), hasMinimums: config["sym"] === false }, dtype);
  return config["desc_act"] === true ? { ...form, isReordered: true } : form;
}

function readModule(module: string, tensors: TensorReader, zeroOffset: number): Weight {
  const { rows, cols, bits, numGroups } = layoutOf(module, tensors);
  const weight = tensors.tensor(`${module}.qweight`);
  const zeros = tensors.tensor(`${module}.qzeros`);
  const wordsOf = (count: number): number => (count * bits) / 32;
  const codes = unpackBits(
    transposeWords(weight.data, wordsOf(cols), rows),
    { rows, count: cols, stride: wordsOf(cols) * 4 },
    bits,
  );
  const stored = unpackBits(zeros.data, { rows: numGroups, count: rows, stride: wordsOf(rows) * 4 }, bits);
  const mask = (1 << bits) - 1;
  const integers = toIntegerWeight({
    rows,
    cols,
    bits,
    codes,
    scales: scalesOf(tensors.tensor(`${module}.scales`)),
    zeros: stored.map((zero) => (zero + zeroOffset) & mask),
  });
  const order = `${module}.g_idx`;
  return tensors.has(order) ? withGroupOrder(integers, tensors.tensor(order)) : integers;
}
