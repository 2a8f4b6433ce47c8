import { createHash, type Hash } from "node:crypto";
import { invariant } from "../base/invariant.ts";
import { toDense } from "../formats/dequantize.ts";
import type { TensorFile } from "../formats/tensor-file.ts";
import type { Solver } from "../kernels/solver.ts";
import type { BandReader } from "./band-reader.ts";
import { checkFinite } from "./finite.ts";
import type { JournalEntry } from "./journal.ts";
import type { DenseTarget, LinearEncoder, OutputFormat, TensorPiece } from "./output-format.ts";
import type { QuantizationTarget } from "./plan.ts";
import { RoundingError } from "./rounding-error.ts";
import { changes, transformRows, type WeightTransform } from "./smoothing/weight-transform.ts";

export interface MatrixWriterParts {
  readonly bands: BandReader;
  readonly output: OutputFormat;
  readonly file: TensorFile;
  /** What is done to weights before they are rounded; those that stay dense are not changed. */
  readonly transform: WeightTransform;
  readonly solver: Solver;
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
    encoder: LinearEncoder,
    fallback: JournalEntry["fallback"],
  ): Promise<JournalEntry> {
    const { module, source, cols } = target;
    const { bands, transform, solver, onElements } = this.#parts;
    const hashes = new TensorHashes(this.#parts.file);
    const checksum = createHash("sha256");
    const error = new RoundingError();
    await bands.forEachBand({ ...target, module: source }, (weight, firstRow) => {
      const floats = bands.valuesOf(weight);
      checkFinite(source, floats, solver);
      transformRows(floats, transform, { module, cols, firstRow });
      const isStoredBf16 = weight.kind === "dense" && weight.dtype === "bf16" && !changes(transform, module);
      const { pieces, values } = encoder.encode({ values: floats, firstRow, isStoredBf16 });
      error.add(solver.squaredErrors(floats, values, cols));
      checksum.update(solver.rowChecksums(values, cols));
      hashes.write(pieces);
      onElements(floats.length, source);
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
    const { bands, solver, onElements } = this.#parts;
    const hashes = new TensorHashes(this.#parts.file);
    await bands.forEachBand(target, (weight, firstRow) => {
      const dense = toDense(weight, dtype);
      checkFinite(module, bands.valuesOf(dense), solver);
      hashes.write([this.#parts.output.densePiece(target, dense.data, firstRow)]);
      onElements(weight.rows * weight.cols, module);
    });
    const tensors = hashes.digest();
    return { module, tensors, valuesChecksum: null, relativeError: 0, outcome: null, fallback: null };
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
