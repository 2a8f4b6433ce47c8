import { createHash, type Hash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { bf16ToF32 } from "../base/half.ts";
import type { FloatDtype, Weight } from "../base/weights.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { dequantize, toDense, widenFloats } from "../formats/dequantize.ts";
import type { SafetensorsWriter } from "../formats/safetensors-writer.ts";
import { sliceRows } from "../formats/slice-rows.ts";
import { checkFinite } from "./finite.ts";
import type { Quantized } from "./grid.ts";
import type { JournalEntry } from "./journal.ts";
import { linearPieces, type TensorPiece } from "./linear-tensors.ts";
import type { QuantizationTarget } from "./plan.ts";
import type { LinearQuantizer } from "./quantizers.ts";
import { relativeError, roundingError } from "./rounding-error.ts";
import { rowBands } from "./row-bands.ts";
import type { LinearShape } from "./scheme.ts";
import { changes, transformRows, type WeightTransform } from "./smoothing/weight-transform.ts";

export interface MatrixWriterParts {
  readonly checkpoint: Checkpoint;
  readonly file: SafetensorsWriter;
  /** Type that weights are rounded to first, or null. */
  readonly roundTo: FloatDtype | null;
  /** What is done to the weights before they are rounded. */
  readonly transform: WeightTransform;
  /** Elements that are in memory at a time. */
  readonly bandElements: number;
  /** Called after each band with the elements of it. */
  readonly onElements: (count: number, module: string) => void;
}

/** Writes matrices a band of rows at a time, and tells what it wrote. */
export class MatrixWriter {
  readonly #parts: MatrixWriterParts;

  constructor(parts: MatrixWriterParts) {
    this.#parts = parts;
  }

  /** Throws `model_not_finite`. */
  async writeLinear(
    target: QuantizationTarget,
    quantizer: LinearQuantizer,
    followsWeightType: boolean,
  ): Promise<JournalEntry> {
    const { module, source, scheme, cols } = target;
    const { transform } = this.#parts;
    const hashes = new TensorHashes(this.#parts.file);
    const values = createHash("sha256");
    const total = { squaredError: 0, squaredSum: 0 };
    const { bits, symmetric, groupSize } = scheme;
    await this.#forEachBand({ ...target, module: source }, (weight, firstRow) => {
      const floats = dequantize(weight);
      checkFinite(source, floats);
      transformRows(floats, transform, { module, cols, firstRow });
      const isBf16 = weight.kind === "dense" && weight.dtype === "bf16" && !changes(transform, module);
      const roundsSteps = followsWeightType && isBf16;
      const quantized = quantizer.quantize(floats, {
        bits,
        groupSize: groupSize ?? cols,
        symmetric,
        roundsSteps,
      });
      const error = roundingError(floats, quantized);
      total.squaredError += error.squaredError;
      total.squaredSum += error.squaredSum;
      values.update(bytesOf(valuesOf(quantized)));
      hashes.write(linearPieces({ module, shape: target, firstRow, quantized }, scheme));
    });
    const valuesSha256 = values.digest("hex");
    return {
      module,
      tensors: hashes.digest(),
      valuesSha256,
      relativeError: relativeError(total),
      outcome: quantizer.outcome(),
    };
  }

  /** A matrix that stays dense, in bf16. Throws `model_not_finite`. */
  async writeDense(shape: LinearShape): Promise<JournalEntry> {
    const { module, cols } = shape;
    const hashes = new TensorHashes(this.#parts.file);
    await this.#forEachBand(shape, (weight, firstRow) => {
      const { data } = toDense(this.#transformed(weight, module, firstRow), "bf16");
      checkFinite(module, widenFloats(data, "bf16"));
      hashes.write([{ name: `${module}.weight`, data, at: firstRow * cols * 2 }]);
    });
    return { module, tensors: hashes.digest(), valuesSha256: null, relativeError: 0, outcome: null };
  }

  #transformed(weight: Weight, module: string, firstRow: number): Weight {
    const { transform } = this.#parts;
    if (!changes(transform, module)) return weight;
    const { rows, cols } = weight;
    const values = dequantize(weight);
    transformRows(values, transform, { module, cols, firstRow });
    return { kind: "dense", rows, cols, dtype: "f32", data: bytesOf(values) };
  }

  async #forEachBand(
    { module, rows, cols }: LinearShape,
    onBand: (weight: Weight, firstRow: number) => void,
  ): Promise<void> {
    const { checkpoint, roundTo, bandElements, onElements } = this.#parts;
    const whole = checkpoint.linear(module);
    for (const { first, count } of rowBands(rows, cols, bandElements)) {
      const band = sliceRows(whole, first, count);
      onBand(roundTo === null ? band : toDense(band, roundTo), first);
      checkpoint.dropPages();
      onElements(count * cols, module);
      await nextTurn();
    }
  }
}

/** What the integers stand for, f32; exact, as a scale has 8 bits and a code at most 8. */
function valuesOf({ codes, scales, zeros }: Quantized): Float32Array {
  const values = new Float32Array(codes.length);
  const groupSize = codes.length / scales.length;
  for (let group = 0, i = 0; group < scales.length; group += 1) {
    const scale = bf16ToF32(scales[group]!);
    const zero = zeros === null ? 0 : zeros[group]!;
    for (const end = i + groupSize; i < end; i += 1) values[i] = (codes[i]! - zero) * scale + 0;
  }
  return values;
}

/** Hash of values as f32, where −0 and 0 are one. */
export function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

/** Writes pieces of tensors, each tensor's in order, and hashes them on the way. */
class TensorHashes {
  readonly #file: SafetensorsWriter;
  readonly #hashes = new Map<string, Hash>();

  constructor(file: SafetensorsWriter) {
    this.#file = file;
  }

  write(pieces: readonly TensorPiece[]): void {
    for (const { name, data, at } of pieces) {
      const hash = this.#hashes.get(name) ?? createHash("sha256");
      hash.update(data);
      this.#hashes.set(name, hash);
      this.#file.write(name, data, at);
    }
  }

  digest(): { name: string; sha256: string }[] {
    return [...this.#hashes].map(([name, hash]) => ({ name, sha256: hash.digest("hex") }));
  }
}
