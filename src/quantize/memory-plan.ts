import { MillraceError } from "../base/errors.ts";
import { formatBytes } from "../base/units.ts";
import type { WeightForm } from "../base/weights.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { blockFormats } from "../formats/gguf/block-formats.ts";
import { sampleRows } from "./calibration/collect-statistics.ts";
import { methods, type QuantizationMethod } from "./methods.ts";
import type { ResolvedPlan } from "./plan.ts";
import type { LinearShape } from "./scheme.ts";

/**
 * What the process takes beside the rows that it works on: Node with this program and its threads, and pieces of files.
 * Measured with the bundled command, as packages have it.
 */
export const programBytes = 91 << 20;

/** The same beside the packed weights when it runs what it wrote: logits, activations and what rounding left. */
const runningProgramBytes = 106 << 20;

/**
 * Of an element that is worked on, measured over schemes and models: its f32 value, the value read back, and integers of
 * one try, or of several, of which most are given back before those are made.
 */
const elementSizes = { plain: 7, searched: 8, calibrated: 26 };

/** Rows are worked on in bands of at most so many elements: more is no faster. */
const mostElements = 1 << 21;

export interface MemoryPlan {
  /** Elements of the rows that are in memory at a time. */
  readonly bandElements: number;
  /** Bytes of what is known of inputs that are in memory at a time; 0 without calibration. */
  readonly statisticsBytes: number;
  /** Whether there is room to run what was written. */
  readonly canRun: boolean;
  /** The most that the process will take. */
  readonly peakBytes: number;
}

/** Bytes of statistics that are kept where memory is not limited: the model runs once more for each such part. */
const mostStatisticsBytes = 2 ** 30;

/** What a calibrated run has in memory beside rows. */
export interface CalibrationMemory {
  /** Of each layer. */
  readonly statisticsBytes: readonly number[];
  /** The model as it runs, a sequence's cache and activations, and a factor with the matrices that it is made of. */
  readonly fixedBytes: number;
}

/** What a calibrated run of sequences of `numTokens` tokens needs. */
export function calibrationMemory(
  checkpoint: Checkpoint,
  plan: Pick<ResolvedPlan, "targets" | "dense" | "roundTo" | "isSmoothed">,
  { statisticsBytes, numTokens }: Pick<CalibrationMemory, "statisticsBytes"> & { readonly numTokens: number },
): CalibrationMemory {
  const { hiddenSize, intermediateSize, numLayers, numKvHeads, headDim } = checkpoint.config;
  const widest = Math.max(hiddenSize, intermediateSize);
  const cache = 2 * 4 * numLayers * numKvHeads * headDim * numTokens;
  const activations = 4 * numTokens * (4 * widest + 4 * hiddenSize);
  const samples = 4 * statisticsBytes.length * sampleRows * (2 * hiddenSize + 2 * widest);
  const working = cache + activations + (plan.isSmoothed ? samples : 0) + 5 * 4 * widest ** 2;
  return { statisticsBytes, fixedBytes: runningBytes(checkpoint, plan) + working };
}

/** The float model as it runs: as the file has it, or rounded to another type first. */
function runningBytes(
  checkpoint: Checkpoint,
  { targets, dense, roundTo }: Pick<ResolvedPlan, "targets" | "dense" | "roundTo">,
): number {
  const matrices: readonly LinearShape[] = [...targets, ...dense];
  const bytesOf = (shapes: readonly LinearShape[], bytes: number): number =>
    shapes.reduce((sum, { rows, cols }) => sum + bytes * rows * cols, 0);
  if (roundTo !== null) return bytesOf(matrices, roundTo === "f32" ? 4 : 2);
  const widened = matrices.filter(({ module }) => isWidened(checkpoint.form(module)));
  return checkpoint.sizeBytes + bytesOf(widened, 4);
}

/**
 * Chooses how much is in memory at a time, and states what that takes. Throws `out_of_memory` when the least that there
 * can be needs more than `maxBytes`.
 */
export function planMemory(
  checkpoint: Checkpoint,
  { targets, dense, output, method }: Pick<ResolvedPlan, "targets" | "dense" | "output" | "method">,
  maxBytes: number | null,
  calibration: CalibrationMemory | null = null,
): MemoryPlan {
  const matrices: readonly LinearShape[] = [...targets, ...dense];
  const widest = Math.max(...matrices.map(({ cols }) => cols));
  const largest = Math.max(...matrices.map(({ rows, cols }) => rows * cols));
  const { begun, writing, running } = output.memory;
  const begunBytes = programBytes + begun;
  const fixed = programBytes + writing + unpackedBytes(checkpoint, matrices) + (calibration?.fixedBytes ?? 0);
  const layers = calibration?.statisticsBytes ?? [0];
  const leastStatistics = Math.max(...layers);
  const { rowUnit } = output;
  const elementBytes = elementBytesOf(method);
  const fewest = Math.min(largest, rowUnit * widest);
  const least = Math.max(begunBytes, fixed + leastStatistics + elementBytes * fewest);
  const limit = maxBytes ?? Infinity;
  if (least > limit) {
    throw new MillraceError(
      "out_of_memory",
      `--max-memory is ${formatBytes(limit)}; quantising this model takes at least ${formatBytes(least)} (${rowUnit} rows of ${widest} columns at a time). Give more.`,
      { param: "--max-memory" },
    );
  }
  const allowed = Math.floor((limit - fixed - leastStatistics) / elementBytes);
  const bandElements = Math.max(fewest, Math.min(largest, mostElements, allowed));
  const left = limit - fixed - elementBytes * bandElements;
  const all = layers.reduce((sum, bytes) => sum + bytes, 0);
  const statisticsBytes = Math.max(leastStatistics, Math.min(all, mostStatisticsBytes, left));
  const peakBytes = Math.max(begunBytes, fixed + statisticsBytes + elementBytes * bandElements);
  // The model of the calibration stands beside the written one until the run ends.
  const runBytes =
    runningProgramBytes + running + packedBytes(checkpoint, targets, dense) + (calibration?.fixedBytes ?? 0);
  const canRun = runBytes <= limit;
  return {
    bandElements,
    statisticsBytes,
    canRun,
    peakBytes: canRun ? Math.max(peakBytes, runBytes) : peakBytes,
  };
}

/**
 * All weights as kernels hold them, and the stored form of those that are packed when nearly all others are: gate and up
 * of the last layer, or the head; one that is the embedding too is packed first.
 */
function packedBytes(
  { config: { tieWordEmbeddings } }: Checkpoint,
  targets: ResolvedPlan["targets"],
  dense: ResolvedPlan["dense"],
): number {
  const sizes = [
    ...dense.map(({ module, rows, cols }) => ({ module, bytes: 2 * rows * cols })),
    ...targets.map((target) => ({
      module: target.module,
      bytes: (target.rows * target.cols * packedBits(target)) / 8,
    })),
  ];
  const all = sizes.reduce((sum, { bytes }) => sum + bytes, 0);
  const stored = sizes.map(({ module, bytes }) => {
    if (module === "lm_head") return tieWordEmbeddings ? 0 : bytes;
    return module.startsWith("model.layers.") ? 2 * bytes : 0;
  });
  return Math.ceil(all + Math.max(0, ...stored));
}

/** Bits of a weight with its part of the scales and minimums: integers of more than 4 bits, and those of a table, are bytes. */
function packedBits({ scheme, form, cols }: ResolvedPlan["targets"][number]): number {
  const { bits, groupSize, symmetric } = scheme;
  const blocks = blockFormats[form];
  const scaleBits = 8 * (blocks?.scaleBytes ?? 2);
  return (blocks?.bits ?? (bits <= 4 ? 4 : 8)) + ((symmetric ? 1 : 2) * scaleBits) / (groupSize ?? cols);
}

function elementBytesOf(method: QuantizationMethod): number {
  if (methods[method].isCalibrated) return elementSizes.calibrated;
  return method === "rtn" ? elementSizes.plain : elementSizes.searched;
}

/** Of the largest matrix that reading unpacks whole: integers to a byte of code with their part of the scales, FP8 to f32. */
function unpackedBytes(checkpoint: Checkpoint, matrices: readonly LinearShape[]): number {
  const sizes = matrices.map(({ module, rows, cols }) => {
    const form = checkpoint.form(module);
    if (form.kind === "integer") return 2 * rows * cols;
    return isWidened(form) ? 4 * rows * cols : 0;
  });
  return Math.max(0, ...sizes);
}

function isWidened(form: WeightForm): boolean {
  return form.kind === "dense" && form.isWidened === true;
}
