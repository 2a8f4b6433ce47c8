import path from "node:path";
import { MillraceError } from "../base/errors.ts";
import { version } from "../base/version.ts";
import { writeFileAtomically } from "../base/write-file.ts";
import { compareStages } from "../bench/compare-stages.ts";
import { checkTasks } from "../evaluate/check-tasks.ts";
import { findEarlierResult } from "../quantize/earlier-result.ts";
import { quantize } from "../quantize/quantize.ts";
import type { ComparisonRecord, Measurement, ServingRecord } from "../records/comparison.ts";
import type { EvaluationRecord } from "../records/evaluation.ts";
import type { Origin } from "../records/origin.ts";
import type { QuantizationManifest } from "../records/quantization-manifest.ts";
import { renderHtml } from "../report/html.ts";
import { renderMarkdown } from "../report/markdown.ts";
import { verdictOf } from "../report/verdict.ts";
import { compareAccuracy } from "./compare-accuracy.ts";
import { evaluateSide } from "./evaluate-side.ts";
import type { FlowPlan, FlowTools, Side } from "./flow-plan.ts";
import { serveAndLoad } from "./serve-and-load.ts";
import { StepNumbers, type StepReport } from "./step-progress.ts";

/**
 * Quantises a model, measures both, serves and loads both, and writes the comparison. One model is in memory at a
 * time. Finished steps whose inputs did not change are kept.
 *
 * Errors: those of the steps. The files of finished steps stay, and the next run goes on from them.
 */
export async function runFlow(plan: FlowPlan, tools: FlowTools): Promise<ComparisonRecord> {
  try {
    return await runSteps(plan, tools);
  } catch (error) {
    // Ctrl-C reaches the server that is under load as well; what breaks by that is no news.
    tools.signal.throwIfAborted();
    throw error;
  }
}

async function runSteps(plan: FlowPlan, tools: FlowTools): Promise<ComparisonRecord> {
  const taskFiles = checkTasks(plan);
  const compressedPath = path.join(plan.outPath, "compressed", "model");
  const steps = new StepNumbers(plan.tasks.length === 0 ? 3 : 5, tools);
  const { manifest, facts } = await quantizeStep(plan, tools, {
    outPath: compressedPath,
    report: steps.next("compressed"),
  });
  const base: Side = {
    which: "base",
    name: plan.modelName,
    path: plan.modelPath,
    dtype: plan.dtype,
    folder: path.join(plan.outPath, "base"),
    vocabSize: facts.vocabSize,
  };
  const compressed: Side = {
    which: "compressed",
    name: `${plan.modelName}-${plan.scheme}`,
    path: compressedPath,
    dtype: "auto",
    folder: path.dirname(compressedPath),
    vocabSize: facts.vocabSize,
  };
  const scores: EvaluationRecord[] = [];
  if (plan.tasks.length > 0) {
    for (const side of [base, compressed]) {
      scores.push(await evaluateSide(plan, tools, { side, report: steps.next(side.which), taskFiles }));
    }
  }
  const servings: ServingRecord[] = [];
  for (const side of [base, compressed]) {
    servings.push(await serveAndLoad(plan, tools, { side, report: steps.next(side.which) }));
  }
  const record = compose(plan, {
    manifest,
    facts,
    baseServing: servings[0]!,
    compressedServing: servings[1]!,
    baseScores: scores[0] ?? null,
    compressedScores: scores[1] ?? null,
  });
  writeComparison(plan.outPath, record);
  return record;
}

interface ModelFacts {
  readonly vocabSize: number;
  readonly sizeBytes: number;
  readonly weightFormat: string;
}

async function quantizeStep(
  plan: FlowPlan,
  tools: FlowTools,
  { outPath, report }: { readonly outPath: string; readonly report: StepReport },
): Promise<{ readonly manifest: QuantizationManifest; readonly facts: ModelFacts }> {
  const checkpoint = tools.openModel(plan.modelPath);
  try {
    const { sizeBytes, weightFormat, config } = checkpoint;
    const facts = { vocabSize: config.vocabSize, sizeBytes, weightFormat };
    const { scheme, groupSize, dtype } = plan;
    const wanted = { scheme, groupSize, dtype, outPath, method: "mse" as const };
    const earlier = await findEarlierResult(checkpoint, wanted);
    if (earlier?.isCurrent === true) {
      report.keep(outPath);
      return { manifest: earlier.manifest, facts };
    }
    const replaceEarlier = earlier !== null;
    return {
      manifest: await quantize(
        checkpoint,
        { ...wanted, replaceEarlier },
        { progress: report.progress, openModel: tools.openModel, solver: tools.solver },
      ),
      facts,
    };
  } catch (error) {
    if (error instanceof MillraceError && error.code === "output_exists") {
      throw new MillraceError(
        "output_exists",
        `${plan.outPath} holds the flow of another model or scheme, or of an older version. Choose another --out, or remove it.`,
        { cause: error },
      );
    }
    throw error;
  } finally {
    checkpoint.close();
  }
}

interface FlowResults {
  readonly manifest: QuantizationManifest;
  readonly facts: ModelFacts;
  readonly baseServing: ServingRecord;
  readonly compressedServing: ServingRecord;
  readonly baseScores: EvaluationRecord | null;
  readonly compressedScores: EvaluationRecord | null;
}

function compose(plan: FlowPlan, results: FlowResults): ComparisonRecord {
  const { manifest, facts, baseScores, compressedScores } = results;
  const weightBytes = manifest.files
    .filter((file) => file.name.endsWith(".safetensors"))
    .reduce((sum, file) => sum + file.sizeBytes, 0);
  const accuracy =
    baseScores === null || compressedScores === null
      ? { accuracy: [], changed: [], unpaired: [] }
      : compareAccuracy(baseScores, compressedScores);
  const comparison = {
    version,
    writtenAt: new Date().toISOString(),
    measurements: measurementsOf(results),
    scheme: plan.scheme,
    base: {
      name: plan.modelName,
      weights: facts.weightFormat,
      runAs: plan.dtype === "auto" ? null : plan.dtype,
      sizeBytes: facts.sizeBytes,
      serving: results.baseServing,
    },
    compressed: {
      name: `${plan.modelName}-${plan.scheme}`,
      weights: plan.scheme,
      runAs: null,
      sizeBytes: weightBytes,
      serving: results.compressedServing,
    },
    ...accuracy,
    speed: compareStages(results.baseServing.bench.stages, results.compressedServing.bench.stages),
    notes: [...manifest.notes],
  };
  return { kind: "comparison", verdict: verdictOf(comparison), ...comparison };
}

/** Every part with its own time, machine and build: kept parts are older than the report. */
function measurementsOf(results: FlowResults): Measurement[] {
  const { manifest, baseScores, compressedScores, baseServing, compressedServing } = results;
  const entry = (
    part: Measurement["part"],
    side: Measurement["side"],
    origin: Origin | undefined,
  ): Measurement[] => (origin === undefined ? [] : [{ part, side, ...origin }]);
  return [
    ...entry("quantisation", "compressed", manifest.origin),
    ...entry("accuracy", "base", baseScores?.origin),
    ...entry("accuracy", "compressed", compressedScores?.origin),
    ...entry("serving and load", "base", baseServing.bench.origin),
    ...entry("serving and load", "compressed", compressedServing.bench.origin),
  ];
}

/** Writes comparison.json, comparison.md and comparison.html into a folder. */
export function writeComparison(folder: string, record: ComparisonRecord): void {
  writeFileAtomically(path.join(folder, "comparison.json"), `${JSON.stringify(record, null, 2)}\n`);
  writeFileAtomically(path.join(folder, "comparison.md"), renderMarkdown(record));
  writeFileAtomically(path.join(folder, "comparison.html"), renderHtml(record));
}
