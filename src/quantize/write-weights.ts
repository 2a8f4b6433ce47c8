import type { Progress } from "../base/progress.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import type { TensorFile } from "../formats/tensor-file.ts";
import type { Solver } from "../kernels/solver.ts";
import { BandReader } from "./band-reader.ts";
import { groupByInput } from "./calibration/capture-inputs.ts";
import { type CalibrationTools, StatisticsCollector } from "./calibration/collect-statistics.ts";
import { describeFallbacks } from "./calibration/fallbacks.ts";
import { CalibratedInputs } from "./calibration/linear-inputs.ts";
import { EstimatedInputs } from "./estimated-inputs.ts";
import { checkFinite } from "./finite.ts";
import { type InputSource, noInputs } from "./input-source.ts";
import type { JournalEntry, WriteJournal } from "./journal.ts";
import { MatrixWriter } from "./matrix-writer.ts";
import type { MemoryPlan } from "./memory-plan.ts";
import { methods } from "./methods.ts";
import type { TensorPiece } from "./output-format.ts";
import type { QuantizationTarget, ResolvedPlan } from "./plan.ts";
import { keepWritten } from "./resume.ts";
import type { LinearShape } from "./scheme.ts";
import { smoothModel } from "./smoothing/smooth-model.ts";
import { noTransform, type WeightTransform } from "./smoothing/weight-transform.ts";

export interface WriteParts {
  readonly checkpoint: Checkpoint;
  readonly plan: ResolvedPlan;
  readonly writer: TensorFile;
  readonly journal: WriteJournal;
  readonly memory: MemoryPlan;
  readonly progress: Progress;
  /** Of a method that needs it, else null. */
  readonly calibration: CalibrationTools | null;
  readonly solver: Solver;
}

export interface WrittenWeights {
  /** By module. */
  readonly entries: ReadonlyMap<string, JournalEntry>;
  readonly notes: readonly string[];
}

/** Writes every tensor that an earlier run has not. */
export async function writeWeights(parts: WriteParts): Promise<WrittenWeights> {
  const { checkpoint, plan, writer, journal, memory, progress, solver } = parts;
  const { dense, vectors, output } = plan;
  // Linears that share an input come one after the other, so that it is described once.
  const targets = [...groupByInput(plan.targets).values()].flat();
  const kept = keepWritten(writer, journal);
  const entries = new Map(kept.entries);
  const count = new ElementCount(plan, progress);
  const left = targets.filter(({ module }) => !entries.has(module));
  const { bandElements } = memory;
  const { rowUnit } = output;
  const bands = new BandReader({ checkpoint, roundTo: plan.roundTo, solver, bandElements, rowUnit });
  const steps = await planSteps(parts, left, { count, bands });
  const { transform, inputs } = steps;
  const matrices = new MatrixWriter({
    bands,
    output,
    file: writer,
    transform,
    solver,
    onElements: (elements, module) => count.add(elements, module),
  });
  const make = async (shape: LinearShape, work: () => Promise<JournalEntry>): Promise<void> => {
    if (entries.has(shape.module)) {
      count.add(shape.rows * shape.cols, shape.module);
      return;
    }
    const entry = await work();
    entries.set(shape.module, entry);
    journal.add(entry);
  };
  count.show();
  for (const target of targets) {
    await make(target, async () => {
      const { input, fallback } = await inputs.find(target);
      return matrices.writeLinear(target, output.encoderOf(target, input, solver), fallback);
    });
  }
  for (const shape of dense) await make(shape, () => matrices.writeDense(shape));
  for (const { name } of vectors) {
    const values = transform.vectors.get(name) ?? checkpoint.vector(name);
    checkFinite(name, values, solver);
    writePiece(writer, output.vectorPiece(name, values));
  }
  for (const constant of output.constants) writePiece(writer, constant);
  writer.commit();
  const stay = dense.length === 1 ? "1 matrix" : `${dense.length} matrices`;
  progress.finish(`${targets.length} linears quantised, ${stay} kept in floats`);
  const fallbackNotes = describeFallbacks(targets.map(({ module }) => entries.get(module)!));
  return { entries, notes: [...kept.notes, ...steps.notes, ...fallbackNotes] };
}

function writePiece(writer: TensorFile, { name, data, at }: TensorPiece): void {
  writer.write(name, data, at);
}

interface Steps {
  readonly transform: WeightTransform;
  readonly inputs: InputSource;
  readonly notes: readonly string[];
}

/** What is done to the weights before they are rounded, and what is known of the inputs of those that are `left`. */
async function planSteps(
  { checkpoint, plan, memory, progress, calibration, solver }: WriteParts,
  left: readonly QuantizationTarget[],
  { count, bands }: { readonly count: ElementCount; readonly bands: BandReader },
): Promise<Steps> {
  const { method, roundTo, isSmoothed, targets } = plan;
  // Another stage begins in between; then the writing is shown again.
  const between: Progress = {
    start: (label, total) => progress.start(label, total),
    update: (done) => progress.update(done),
    finish: () => count.show(),
  };
  const collector = calibration === null ? null : new StatisticsCollector(checkpoint, calibration, roundTo);
  const { bandElements, statisticsBytes } = memory;
  const { transform, note } =
    isSmoothed && collector !== null
      ? await smoothModel({ checkpoint, collector, targets, bandElements, progress: between })
      : { transform: noTransform, note: null };
  const notes = note === null ? [] : [note];
  if (methods[method].isEstimated) {
    const inputs = new EstimatedInputs({ checkpoint, targets, dense: plan.dense, bands, transform });
    return { transform, inputs, notes };
  }
  if (!methods[method].isCalibrated || collector === null) return { transform, inputs: noInputs, notes };
  const inputs = new CalibratedInputs({
    collector,
    solver,
    isPassingOn: method === "gptq",
    targets: left,
    statisticsBytes,
    transform,
    progress: between,
  });
  return { transform, inputs, notes };
}

/** How much of the model is done, for people. */
class ElementCount {
  readonly #label: string;
  readonly #total: number;
  readonly #progress: Progress;
  #done = 0;

  constructor({ scheme, targets, dense }: ResolvedPlan, progress: Progress) {
    this.#label = `quantize ${scheme.name}`;
    this.#total = [...targets, ...dense].reduce((count, { rows, cols }) => count + rows * cols, 0);
    this.#progress = progress;
  }

  show(): void {
    this.#progress.start(this.#label, this.#total);
  }

  add(elements: number, module: string): void {
    this.#done += elements;
    this.#progress.update(this.#done, module);
  }
}
