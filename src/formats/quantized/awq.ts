import { MillraceError } from "../../base/errors.ts";
import type { Weight } from "../../base/weights.ts";
import type { JsonObject } from "../json-file.ts";
import type { StoredTensor, TensorReader } from "../stored-tensor.ts";
import { groupedForm, groupScales, toIntegerWeight, unfit } from "./grouped-integers.ts";
import { textOf } from "./modules.ts";
import type { QuantizedLinears } from "./quantized-linears.ts";

/** Output 8c + j of word c stands in this nibble (AutoAWQ, AWQ_ORDER reversed). */
const nibbleOf: readonly number[] = [0, 4, 1, 5, 2, 6, 3, 7];

/** AWQ checkpoints of version gemm with 4 bits (AutoAWQ). Throws `unsupported_format`. */
export function awqLinears(config: JsonObject): QuantizedLinears {
  const bits = config["bits"] ?? config["w_bit"] ?? 4;
  const version = textOf(config["version"], "gemm").toLowerCase();
  if (bits !== 4 || version !== "gemm") {
    throw new MillraceError(
      "unsupported_format",
      `The checkpoint has AWQ weights of ${JSON.stringify(bits)} bits in version ${JSON.stringify(version)}; 4 bits of version gemm are read here. Use a gemm export, or a GPTQ or GGUF copy.`,
    );
  }
  const groupSize = config["group_size"] ?? config["q_group_size"];
  return {
    label: `AWQ W4A16 g${String(groupSize)}`,
    form: (module, shape, tensors) => {
      if (!tensors.has(`${module}.qweight`)) return null;
      const [numGroups = 0] = tensors.header(`${module}.qzeros`).shape;
      const { dtype } = tensors.header(`${module}.scales`);
      return groupedForm({ ...shape, bits: 4, numGroups, hasMinimums: true }, dtype);
    },
    read: (module, tensors) => (tensors.has(`${module}.qweight`) ? readModule(module, tensors) : null),
  };
}

function readModule(module: string, tensors: TensorReader): Weight {
  const weight = tensors.tensor(`${module}.qweight`);
  const zeros = tensors.tensor(`${module}.qzeros`);
  const [cols = 0, words = 0] = weight.shape;
  const [numGroups = 0] = zeros.shape;
  const rows = words * 8;
  if (weight.dtype !== "I32" || weight.shape.length !== 2 || cols % numGroups !== 0 || cols % 2 !== 0)
    throw unfit(weight, "I32 [columns, rows / 8] with whole groups");
  if (zeros.dtype !== "I32" || zeros.shape[1] !== words) throw unfit(zeros, `I32 [groups, ${words}]`);
  const scales = groupScales(tensors.tensor(`${module}.scales`), numGroups, rows);
  const byColumn = unpackWords(weight);
  const codes = new Uint8Array(rows * cols);
  for (let col = 0, from = 0; col < cols; col += 1)
    for (let row = 0; row < rows; row += 1, from += 1) codes[row * cols + col] = byColumn[from]!;
  return toIntegerWeight({ rows, cols, bits: 4, codes, scales, zeros: unpackWords(zeros) });
}

/** [n, words] words → [n, words · 8] integers in the order of the outputs. */
function unpackWords({ data }: StoredTensor): Uint8Array {
  const out = new Uint8Array(data.length * 2);
  for (let word = 0; word < data.length; word += 4) {
    for (let j = 0; j < 8; j += 1) {
      const nibble = nibbleOf[j]!;
      out[word * 2 + j] = (data[word + (nibble >> 1)]! >> ((nibble & 1) << 2)) & 15;
    }
  }
  return out;
}
