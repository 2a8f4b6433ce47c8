import path from "node:path";
import type { Checkpoint, MatrixShape, TokenizerSource } from "../formats/checkpoint.ts";
import { narrowFloats } from "../formats/dequantize.ts";
import { transposeWords } from "../formats/quantized/packed-integers.ts";
import { createSafetensors, type TensorSpec, totalBytes } from "../formats/safetensors-writer.ts";
import type { Quantized } from "../kernels/grid.ts";
import { packCodes, packedWords } from "../kernels/packed-codes.ts";
import type { Solver } from "../kernels/solver.ts";
import { quantizedConfig, readCompanions, writeJson } from "./companion-files.ts";
import { GroupFormat } from "./group-format.ts";
import type { LinearScheme } from "./linear-scheme.ts";
import { methods, type QuantizationMethod } from "./methods.ts";
import type { VectorShape } from "./model-parts.ts";
import type { DenseTarget, OutputFormat, TensorPiece } from "./output-format.ts";
import type { QuantizationTarget } from "./plan.ts";
import { defaultUnit } from "./row-bands.ts";
import { RowRounder } from "./row-rounder.ts";

export interface CompressedParts {
  readonly targets: readonly QuantizationTarget<LinearScheme>[];
  readonly dense: readonly DenseTarget[];
  readonly vectors: readonly VectorShape[];
  readonly method: QuantizationMethod;
  readonly hasInt8KvCache: boolean;
  /** In place of the model's own, or null. */
  readonly tokenizer: TokenizerSource | null;
}

/** Bytes of an entry of a vocabulary that is not copied as a file. */
const entryBytes = 290;

/** A folder of compressed-tensors: integers where there are targets, bf16 for all else. */
export function compressedOutput(checkpoint: Checkpoint, parts: CompressedParts): OutputFormat {
  const { targets, dense, method, hasInt8KvCache, tokenizer } = parts;
  const tensors = tensorSpecs(parts);
  const isRead = tokenizer !== null || checkpoint.format === "gguf";
  const vocabularyBytes = isRead ? entryBytes * checkpoint.config.vocabSize : 0;
  const schemes = new Map(targets.map(({ module, scheme }) => [module, scheme]));
  return {
    format: "compressed-tensors",
    fileName: "model.safetensors",
    sizeBytes: totalBytes(tensors),
    rowUnit: defaultUnit,
    memory: { begun: vocabularyBytes, writing: vocabularyBytes, running: vocabularyBytes },
    openFile: (path, isResumed) => createSafetensors(path, tensors, { isResumed }),
    encoderOf: (target, input, solver) => {
      const { module, cols } = target;
      const scheme = schemes.get(module)!;
      const format = new GroupFormat(scheme, cols, method, solver);
      const rounder = new RowRounder(format, input, solver);
      return {
        encode: (band) => {
          const { quantized, values } = rounder.round(band);
          const own = { module, shape: target, firstRow: band.firstRow, quantized };
          return { pieces: linearPieces(own, scheme, solver), values };
        },
        outcome: () => rounder.outcome(),
      };
    },
    densePiece: ({ module, cols }, data, firstRow) => ({
      name: `${module}.weight`,
      data,
      at: firstRow * cols * 2,
    }),
    vectorPiece: (name, values) => ({ name, data: narrowFloats(values, "bf16"), at: 0 }),
    constants: [],
    readCompanions: () => {
      const config = quantizedConfig(checkpoint, {
        schemes,
        dense: dense.map(({ module }) => module),
        observer: methods[method].observer,
        hasInt8KvCache,
      });
      const writeTokenizer = readCompanions(checkpoint, tokenizer);
      return (folder) => {
        writeJson(path.join(folder, "config.json"), config);
        return writeTokenizer(folder);
      };
    },
  };
}

function tensorSpecs({ targets, dense, vectors }: CompressedParts): TensorSpec[] {
  return [
    ...targets.flatMap((target) => linearSpecs(target.module, target, target.scheme)),
    ...dense.map(
      ({ module, rows, cols }): TensorSpec => ({
        name: `${module}.weight`,
        dtype: "BF16",
        shape: [rows, cols],
      }),
    ),
    ...vectors.map(({ name, length }): TensorSpec => ({ name, dtype: "BF16", shape: [length] })),
  ];
}

/** The tensors of a linear (compressed-tensors). */
export function linearSpecs(module: string, { rows, cols }: MatrixShape, scheme: LinearScheme): TensorSpec[] {
  const numGroups = cols / (scheme.groupSize ?? cols);
  const scale: TensorSpec = { name: `${module}.weight_scale`, dtype: "BF16", shape: [rows, numGroups] };
  if (scheme.format === "int-quantized")
    return [{ name: `${module}.weight`, dtype: "I8", shape: [rows, cols] }, scale];
  const zeros: TensorSpec = {
    name: `${module}.weight_zero_point`,
    dtype: "I32",
    shape: [packedWords(rows, scheme.bits), numGroups],
  };
  return [
    { name: `${module}.weight_packed`, dtype: "I32", shape: [rows, packedWords(cols, scheme.bits)] },
    { name: `${module}.weight_shape`, dtype: "I64", shape: [2] },
    scale,
    ...(scheme.symmetric ? [] : [zeros]),
  ];
}

/** Consecutive rows of a linear as integers. */
export interface QuantizedBand {
  readonly module: string;
  /** Of the whole linear. */
  readonly shape: MatrixShape;
  /** A multiple of `defaultUnit`. */
  readonly firstRow: number;
  readonly quantized: Quantized;
}

/** What a band contributes to the tensors of its linear. */
export function linearPieces(
  { module, shape, firstRow, quantized }: QuantizedBand,
  scheme: LinearScheme,
  solver: Solver,
): TensorPiece[] {
  const { codes, scales, zeros } = quantized;
  const { rows, cols } = shape;
  const numGroups = cols / (scheme.groupSize ?? cols);
  const scale: TensorPiece = {
    name: `${module}.weight_scale`,
    data: new Uint8Array(scales.buffer),
    at: firstRow * numGroups * 2,
  };
  if (scheme.format === "int-quantized")
    return [{ name: `${module}.weight`, data: new Uint8Array(codes.buffer), at: firstRow * cols }, scale];
  const pieces: TensorPiece[] = [
    {
      name: `${module}.weight_packed`,
      data: solver.packCodes(codes, cols, scheme.bits),
      at: firstRow * packedWords(cols, scheme.bits) * 4,
    },
    scale,
  ];
  if (firstRow === 0) {
    const data = new Uint8Array(BigInt64Array.of(BigInt(rows), BigInt(cols)).buffer);
    pieces.push({ name: `${module}.weight_shape`, data, at: 0 });
  }
  if (zeros !== null) {
    pieces.push({
      name: `${module}.weight_zero_point`,
      data: packZeros(zeros, numGroups, scheme.bits),
      at: packedWords(firstRow, scheme.bits) * numGroups * 4,
    });
  }
  return pieces;
}

/** [rows, numGroups] → 32-bit words [ceil(rows · bits / 32), numGroups]: packed along the rows. */
function packZeros(zeros: Int8Array, numGroups: number, bits: number): Uint8Array {
  const rows = zeros.length / numGroups;
  const columns = new Int8Array(zeros.length);
  for (let row = 0, from = 0; row < rows; row += 1)
    for (let group = 0; group < numGroups; group += 1, from += 1) columns[group * rows + row] = zeros[from]!;
  return transposeWords(packCodes(columns, rows, bits), numGroups, packedWords(rows, bits));
}
