import path from "node:path";
import { invariant } from "../base/invariant.ts";
import { findEarlierResult, readQuantizationManifest } from "../quantize/earlier-result.ts";
import { quantize } from "../quantize/quantize.ts";
import type { BudgetSearch } from "../records/budget-search.ts";
import type { QuantizationManifest } from "../records/quantization-manifest.ts";
import { addressOf, describeFiles } from "./fingerprint.ts";
import type { FlowPlan, FlowTools, MadeCandidate, SchemeCandidate, Side } from "./flow-plan.ts";
import type { StepNumbers, StepReport } from "./step-progress.ts";

/** A form of the model, ready to be measured. */
export interface MadeModel {
  readonly side: Side;
  /** As stored, for people. */
  readonly weights: string;
  /** The type that the weights become at loading; null where they run as stored. */
  readonly runAs: string | null;
  /** Bytes of the weight files. */
  readonly sizeBytes: number;
  /** How it was made; null for the model that was given. */
  readonly manifest: QuantizationManifest | null;
  /** The search that found it; null where no budget did. */
  readonly search: BudgetSearch | null;
}

/** Name of the model that was given, in tables and in paths. */
export const baseName = "base";

/** The given model and every candidate of it; candidates that are there already are kept. */
export async function makeModels(plan: FlowPlan, tools: FlowTools, steps: StepNumbers): Promise<MadeModel[]> {
  const { modelPath, modelName, dtype, outPath } = plan;
  const checkpoint = tools.openModel(modelPath);
  const { sizeBytes, weightFormat, config } = checkpoint;
  checkpoint.close();
  const { vocabSize } = config;
  const folderOf = (name: string): string => path.join(outPath, "artefacts", name);
  const base: MadeModel = {
    side: { name: baseName, modelName, path: modelPath, dtype, folder: folderOf(baseName), vocabSize },
    weights: weightFormat,
    runAs: dtype === "auto" ? null : dtype,
    sizeBytes,
    manifest: null,
    search: null,
  };
  const made: MadeModel[] = [base];
  for (const candidate of plan.candidates) {
    const { name } = candidate;
    const folder = folderOf(name);
    const report = steps.next(name);
    const { path: modelFolder, manifest } =
      "madePath" in candidate
        ? keepMade(candidate, report)
        : await makeCandidate(plan, tools, { candidate, folder, report });
    made.push({
      side: {
        name,
        modelName: `${modelName}-${name}`,
        path: modelFolder,
        dtype: "auto",
        folder,
        vocabSize,
      },
      weights: name,
      runAs: null,
      sizeBytes: weightBytesOf(manifest),
      manifest,
      search: "madePath" in candidate ? candidate.search : null,
    });
  }
  return made;
}

interface MadeFolder {
  readonly path: string;
  readonly manifest: QuantizationManifest;
}

function keepMade({ madePath }: MadeCandidate, report: StepReport): MadeFolder {
  const manifest = readQuantizationManifest(madePath);
  invariant(manifest !== null, `${madePath} has no manifest`);
  report.keep(madePath);
  return { path: madePath, manifest };
}

interface MakeStep {
  readonly candidate: SchemeCandidate;
  readonly folder: string;
  readonly report: StepReport;
}

async function makeCandidate(
  { modelPath, dtype }: FlowPlan,
  tools: FlowTools,
  { candidate, folder, report }: MakeStep,
): Promise<MadeFolder> {
  const outPath = path.join(
    folder,
    `model-${addressOf({ files: describeFiles(modelPath), dtype, candidate })}`,
  );
  const checkpoint = tools.openModel(modelPath);
  try {
    const { scheme, groupSize } = candidate;
    const wanted = { scheme, groupSize, dtype, outPath, method: "estimate" as const };
    const earlier = await findEarlierResult(checkpoint, wanted);
    if (earlier?.isCurrent === true) {
      report.keep(outPath);
      return { path: outPath, manifest: earlier.manifest };
    }
    const manifest = await quantize(
      checkpoint,
      { ...wanted, replaceEarlier: true },
      { progress: report.progress, openModel: tools.openModel, solver: tools.solver },
    );
    return { path: outPath, manifest };
  } finally {
    checkpoint.close();
  }
}

function weightBytesOf({ files }: QuantizationManifest): number {
  return files
    .filter(({ name }) => /\.(safetensors|gguf)$/.test(name))
    .reduce((sum, file) => sum + file.sizeBytes, 0);
}
