import { readdirSync } from "node:fs";
import path from "node:path";
import { collectGarbage } from "../base/collect-garbage.ts";
import { isMillraceError, MillraceError } from "../base/errors.ts";
import { type Progress, silentProgress } from "../base/progress.ts";
import { toWriteFault, writeFileAtomically } from "../base/write-file.ts";
import type { Checkpoint } from "../formats/checkpoint.ts";
import { openCheckpoint } from "../formats/open-checkpoint.ts";
import type { TensorFile } from "../formats/tensor-file.ts";
import type { Ops } from "../kernels/ops.ts";
import { referenceSolver } from "../kernels/reference/reference-solver.ts";
import type { Solver } from "../kernels/solver.ts";
import { startOrigin } from "../records/origin.ts";
import { type QuantizationManifest, quantizationManifestName } from "../records/quantization-manifest.ts";
import {
  calibrationFileName,
  checkCalibration,
  encodeCalibration,
  longestSequence,
} from "./calibration/calibration-tokens.ts";
import type { CalibrationTools } from "./calibration/collect-statistics.ts";
import { layerStatisticsBytes } from "./calibration/linear-inputs.ts";
import { checkWritten } from "./check-written.ts";
import { type WriteCompanions, writeJson } from "./companion-files.ts";
import { describeCalibration, describeRun, fingerprintOf, type RunDescription } from "./describe-run.ts";
import { type FileHash, hashFile, hashShown } from "./file-hash.ts";
import { describeHead } from "./head.ts";
import { WriteJournal } from "./journal.ts";
import { calibrationMemory, type MemoryPlan, planMemory } from "./memory-plan.ts";
import { isCalibrated } from "./methods.ts";
import { checkFreeSpace, type OutputFolder, openOutputFolder } from "./output-folder.ts";
import type { QuantizePlan, ResolvedPlan } from "./plan.ts";
import { resolvePlan } from "./resolve-plan.ts";
import { beginJournal } from "./resume.ts";
import { checkAnswers } from "./sanity-gate.ts";
import { type WrittenWeights, writeWeights } from "./write-weights.ts";

/** What the quantiser needs from outside. */
export interface QuantizeTools {
  readonly progress?: Progress;
  /** Opens what was written, to read it back. */
  readonly openModel?: (modelPath: string) => Checkpoint;
  /** Told what the run will take, once it has a place to write to and before the first weight is read. */
  readonly onMemory?: (memory: MemoryPlan) => void;
  /** Tokens and kernels for the methods that need them. */
  readonly calibration?: CalibrationTools | null;
  /** Kernels for what needs nothing but the weights; plain loops by default. */
  readonly solver?: Solver;
  /** Kernels that serve, on which the written model answers before it gets its name; without, it does not. */
  readonly openOps?: () => Ops;
}

/**
 * Quantises a model, rows at a time, to a folder that is read back and compared. It holds compressed-tensors, as
 * transformers, llm-compressor and vLLM read them, with embedding, norms and biases in bf16 and the head too unless it is
 * asked for; or a GGUF file, as llama.cpp reads it, in which the scheme has a type for every matrix. The folder appears
 * under its name only when it is complete; the weights are the same bytes in every run. A run that was interrupted or
 * killed is gone on with by the next one of the same plan.
 * Throws `invalid_scheme`, `invalid_option`, `already_quantized`, `unsupported_format`, `unsupported_architecture`,
 * `model_not_finite`, `model_degenerate`, `invalid_model_file`, `invalid_data_file`, `out_of_memory`, `output_exists`,
 * `output_unwritable`, `disk_full`.
 */
export async function quantize(
  checkpoint: Checkpoint,
  plan: QuantizePlan,
  tools: QuantizeTools = {},
): Promise<QuantizationManifest> {
  const { openModel = openCheckpoint, onMemory = () => {}, solver = referenceSolver } = tools;
  const resolved = resolvePlan(checkpoint, plan);
  const { output } = resolved;
  const calibration = calibrationFor(resolved, tools.calibration ?? null, checkpoint);
  const described = calibration === null ? null : describeCalibration(calibration);
  const finishOrigin = startOrigin(described?.kernels ?? null);
  const memory = memoryFor(checkpoint, plan, resolved, calibration);
  const writeCompanions = output.readCompanions();
  const folder = openOutputFolder(plan.outPath, { replaceEarlier: plan.replaceEarlier, keepsPartial: true });
  let writer: TensorFile | undefined;
  let hasBegun = false;
  try {
    onMemory(memory);
    const progress = tools.progress ?? silentProgress;
    const description = await describeRun(checkpoint, plan, resolved, { calibration: described, progress });
    const begun = { ...plan, weightsName: output.fileName };
    const journal = beginJournal(folder, await fingerprintOf(description, plan), begun);
    hasBegun = true;
    const isResumed = journal.entries.size > 0;
    if (!isResumed) checkFreeSpace(folder.partialPath, output.sizeBytes);
    const weightsPath = path.join(folder.partialPath, output.fileName);
    writer = output.openFile(weightsPath, isResumed);
    const written = await writeWeights({
      checkpoint,
      plan: resolved,
      writer,
      journal,
      memory,
      progress,
      calibration,
      solver,
    });
    const note = writeBeside(folder.partialPath, writeCompanions, calibration);
    const results = resultsOf(description, resolved, written);
    const prompts = calibration?.tokens.sequences ?? null;
    const trial = { ...tools, solver, checkpoint, memory, prompts, progress };
    const answers = await tryResult(openModel(folder.partialPath), results.tensors, trial);
    const weights = await hashShown(weightsPath, output.sizeBytes, progress);
    const manifest: QuantizationManifest = {
      ...results,
      sizeBytes: weights.sizeBytes,
      files: [weights, ...(await hashCompanions(folder.partialPath, output.fileName))],
      notes: [...results.notes, ...[note, answers].filter((own) => own !== null)],
      origin: finishOrigin(),
    };
    writeJson(path.join(folder.partialPath, quantizationManifestName), manifest);
    folder.commit();
    return manifest;
  } catch (error) {
    writer?.suspend();
    if (isForNextRun(folder, hasBegun, error)) folder.suspend();
    else folder.discard();
    throw toWriteFault(plan.outPath, error);
  }
}

/** Tokenizer, settings and calibration tokens; returns a note on what is missing, or null. */
function writeBeside(
  folder: string,
  writeCompanions: WriteCompanions,
  calibration: CalibrationTools | null,
): string | null {
  if (calibration !== null)
    writeFileAtomically(path.join(folder, calibrationFileName), encodeCalibration(calibration.tokens));
  return writeCompanions(folder);
}

/** What stands beside the weights and is as much of the model: a changed config.json makes another of it. */
async function hashCompanions(folder: string, weightsName: string): Promise<FileHash[]> {
  const isOurs = (name: string): boolean => name.startsWith(".millrace");
  const names = readdirSync(folder).filter((name) => name !== weightsName && !isOurs(name));
  const found: FileHash[] = [];
  for (const name of names.toSorted()) found.push(await hashFile(path.join(folder, name)));
  return found;
}

interface TrialParts extends Pick<QuantizeTools, "openOps"> {
  readonly solver: Solver;
  readonly progress: Progress;
  readonly checkpoint: Checkpoint;
  readonly memory: MemoryPlan;
  readonly prompts: readonly Int32Array[] | null;
}

/** Reads a result as any reader of the file does, has it answer, and closes it. Returns a note on that, or null. */
async function tryResult(
  made: Checkpoint,
  tensors: QuantizationManifest["tensors"],
  { solver, progress, checkpoint, memory, prompts, openOps }: TrialParts,
): Promise<string | null> {
  try {
    await checkWritten(made, tensors, { bandElements: memory.bandElements, solver, progress });
    if (openOps === undefined) return null;
    if (!memory.canRun) return "The written model was not run: --max-memory leaves no room for it.";
    // The bands of rounding and of reading back would stand beside the model that runs.
    collectGarbage();
    return checkAnswers({ written: made, base: checkpoint, prompts, openOps });
  } finally {
    made.close();
  }
}

/** Throws `invalid_option` for a method that needs calibration where there is none, `invalid_data_file` for foreign tokens. */
function calibrationFor(
  { method, isSmoothed }: ResolvedPlan,
  given: CalibrationTools | null,
  { config }: Checkpoint,
): CalibrationTools | null {
  if (!isCalibrated(method, isSmoothed)) return null;
  if (given !== null) {
    checkCalibration(given.tokens, config);
    return given;
  }
  throw new MillraceError(
    "invalid_option",
    `${isSmoothed ? "--smooth" : `--method ${method}`} runs the model on a text to see what goes into its linears, but none was given. Give a text, a file of token ids or self with --calibration, or use --method estimate without --smooth.`,
    { param: "--calibration" },
  );
}

function memoryFor(
  checkpoint: Checkpoint,
  plan: QuantizePlan,
  resolved: ResolvedPlan,
  calibration: CalibrationTools | null,
): MemoryPlan {
  const needed =
    calibration === null
      ? null
      : calibrationMemory(checkpoint, resolved, {
          statisticsBytes: layerStatisticsBytes(resolved.targets, resolved.method === "gptq"),
          numTokens: longestSequence(calibration.tokens),
        });
  return planMemory(checkpoint, resolved, plan.maxMemoryBytes ?? null, needed);
}

/** The manifest but for what is known only of the finished file. */
function resultsOf(
  description: RunDescription,
  { targets, dense, head, notes }: ResolvedPlan,
  written: WrittenWeights,
): Omit<QuantizationManifest, "sizeBytes" | "files" | "origin"> {
  const tensors = targets.map(({ module, rows, cols, form }) => {
    const { relativeError, outcome, valuesChecksum } = written.entries.get(module)!;
    return {
      name: module,
      shape: [rows, cols],
      form,
      relativeError,
      outcome,
      valuesChecksum: valuesChecksum!,
    };
  });
  return {
    ...description,
    tensors,
    dense: dense.map(({ module, rows, cols }) => ({ name: module, shape: [rows, cols] })),
    notes: [...notes, describeHead(head), ...written.notes],
  };
}

/**
 * Whether what lies in the folder is to be gone on with: after an interrupt, and what an earlier run left where this one
 * failed before it took it up.
 */
function isForNextRun(folder: OutputFolder, hasBegun: boolean, error: unknown): boolean {
  if (isMillraceError(error) && (error.code === "interrupted" || error.code === "output_exists")) return true;
  return !hasBegun && new WriteJournal(folder.markerPath).fingerprint !== null;
}
