import { createHash, type Hash } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import { collectAfter } from "../base/collect-garbage.ts";
import { invariant } from "../base/invariant.ts";
import type { FloatDtype, Weight } from "../base/weights.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { toDense } from "../formats/dequantize.ts";
import { sliceRows } from "../formats/slice-rows.ts";
import type { TensorFile } from "../formats/tensor-file.ts";
import type { Solver } from "../kernels/solver.ts";
import { checkFinite } from "./finite.ts";
import type { JournalEntry } from "./journal.ts";
import type { DenseTarget, LinearEncoder, OutputFormat, TensorPiece } from "./output-format.ts";
import type { QuantizationTarget } from "./plan.ts";
import { ValueReader } from "./read-values.ts";
import { RoundingError } from "./rounding-error.ts";
import { rowBands } from "./row-bands.ts";
import type { LinearShape } from "./scheme.ts";
import { changes, transformRows, type WeightTransform } from "./smoothing/weight-transform.ts";

export interface MatrixWriterParts {
  readonly checkpoint: Checkpoint;
  readonly output: OutputFormat;
  readonly file: TensorFile;
  /** Type that weights are rounded to first, or null. */
  readonly roundTo: FloatDtype | null;
  /** What is done to weights before they are rounded; those that stay dense are not changed. */
  readonly transform: WeightTransform;
  readonly solver: Solver;
  /** Elements that are in memory at a time. */
  readonly bandElements: number;
  /** Called after each band with the elements of it. */
  readonly onElements: (count: number, module: string) => void;
}

/** Writes matrices a band of rows at a time, and tells what it wrote. */
export class MatrixWriter {
  readonly #parts: MatrixWriterParts;
  readonly #reader: ValueReader;
  readonly #collect: (numElements: number) => void;

  constructor(parts: MatrixWriterParts) {
    this.#parts = parts;
    this.#reader = new ValueReader(parts.solver);
    this.#collect = collectAfter(parts.bandElements);
  }

  /** Throws `model_not_finite`. */
  async writeLinear(
    target: QuantizationTarget,
    encoder: LinearEncoder,
    fallback: JournalEntry["fallback"],
  ): Promise<JournalEntry> {
    const { module, source, cols } = target;
    const { transform, solver } = this.#parts;
    const hashes = new TensorHashes(this.#parts.file);
    const checksum = createHash("sha256");
    const error = new RoundingError();
    await this.#forEachBand({ ...target, module: source }, (weight, firstRow) => {
      const floats = this.#reader.read(weight);
      checkFinite(source, floats, solver);
      transformRows(floats, transform, { module, cols, firstRow });
      const isStoredBf16 = weight.kind === "dense" && weight.dtype === "bf16" && !changes(transform, module);
      const { pieces, values } = encoder.encode({ values: floats, firstRow, isStoredBf16 });
      error.add(solver.squaredErrors(floats, values, cols));
      checksum.update(solver.rowChecksums(values, cols));
      hashes.write(pieces);
    });
    return {
      module,
      tensors: hashes.digest(),
      valuesChecksum: checksum.digest("hex"),
      relativeError: error.relative(source),
      outcome: encoder.outcome(),
      fallback,
    };
  }

  /** A matrix that stays dense. Throws `model_not_finite`. */
  async writeDense(target: DenseTarget): Promise<JournalEntry> {
    const { module, dtype } = target;
    const { solver } = this.#parts;
    const hashes = new TensorHashes(this.#parts.file);
    await this.#forEachBand(target, (weight, firstRow) => {
      const dense = toDense(weight, dtype);
      checkFinite(module, this.#reader.read(dense), solver);
      hashes.write([this.#parts.output.densePiece(target, dense.data, firstRow)]);
    });
    const tensors = hashes.digest();
    return { module, tensors, valuesChecksum: null, relativeError: 0, outcome: null, fallback: null };
  }

  async #forEachBand(
    { module, rows, cols }: LinearShape,
    onBand: (weight: Weight, firstRow: number) => void,
  ): Promise<void> {
    const { checkpoint, output, roundTo, bandElements, onElements } = this.#parts;
    const whole = checkpoint.linear(module);
    for (const { first, count } of rowBands(rows, cols, bandElements, output.rowUnit)) {
      const band = sliceRows(whole, first, count);
      onBand(roundTo === null ? band : toDense(band, roundTo), first);
      checkpoint.dropPages();
      this.#collect(count * cols);
      onElements(count * cols, module);
      await nextTurn();
    }
  }
}

/** Writes pieces of tensors, those of a tensor one behind the other, and hashes them on the way. */
class TensorHashes {
  readonly #file: TensorFile;
  readonly #parts = new Map<string, { readonly at: number; size: number; readonly hash: Hash }>();

  constructor(file: TensorFile) {
    this.#file = file;
  }

  write(pieces: readonly TensorPiece[]): void {
    for (const { name, data, at } of pieces) {
      const part = this.#parts.get(name) ?? { at, size: 0, hash: createHash("sha256") };
      this.#parts.set(name, part);
      invariant(at === part.at + part.size, `pieces of ${name} are in order`);
      part.hash.update(data);
      part.size += data.length;
      this.#file.write(name, data, at);
    }
  }

  digest(): JournalEntry["tensors"] {
    return [...this.#parts].map(([name, { at, size, hash }]) => ({
      name,
      at,
      size,
      sha256: hash.digest("hex"),
    }));
  }
}
