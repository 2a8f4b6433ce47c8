import { MillraceError } from "../../base/errors.ts";
import type { Weight } from "../../base/weights.ts";
import type { JsonObject } from "../json-file.ts";
import type { StoredTensor, TensorReader } from "../stored-tensor.ts";
import { hasShape, unfit } from "./check-header.ts";
import { checkScales, groupedForm, scalesOf, toIntegerWeight } from "./grouped-integers.ts";
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
    packedSuffix: ".qweight",
    form: (module, tensors) => {
      if (!tensors.has(`${module}.qweight`)) return null;
      const { dtype } = tensors.header(`${module}.scales`);
      return groupedForm({ ...layoutOf(module, tensors), bits: 4, hasMinimums: true }, dtype);
    },
    read: (module, tensors) => (tensors.has(`${module}.qweight`) ? readModule(module, tensors) : null),
  };
}

/** What headers tell of a linear. */
function layoutOf(module: string, tensors: TensorReader): Record<"rows" | "cols" | "numGroups", number> {
  const weight = tensors.header(`${module}.qweight`);
  const zeros = tensors.header(`${module}.qzeros`);
  const [cols = 0, words = 0] = weight.shape;
  const [numGroups = 0] = zeros.shape;
  const rows = words * 8;
  if (weight.dtype !== "I32" || weight.shape.length !== 2 || cols % numGroups !== 0 || cols % 2 !== 0)
    throw unfit(weight, "I32 [columns, rows / 8] with whole groups");
  if (!hasShape(zeros, "I32", [numGroups, words])) throw unfit(zeros, `I32 [groups, ${words}]`);
  checkScales(tensors.header(`${module}.scales`), numGroups, rows);
  return { rows, cols, numGroups };
}

function readModule(module: string, tensors: TensorReader): Weight {
  const { rows, cols } = layoutOf(module, tensors);
  const weight = tensors.tensor(`${module}.qweight`);
  const zeros = tensors.tensor(`${module}.qzeros`);
  const scales = scalesOf(tensors.tensor(`${module}.scales`));
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
