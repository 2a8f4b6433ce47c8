import { existsSync, renameSync, rmSync } from "node:fs";
import path from "node:path";
import { writeFileAtomically } from "../../base/write-file.ts";
import { compareLogits } from "../../evaluate/divergence/compare-logits.ts";
import { summarizeDivergences } from "../../evaluate/divergence/summarize.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import { quantize } from "../../quantize/quantize.ts";
import { type BudgetFigures, budgetFiguresSchema } from "../../records/budget-search.ts";
import type { ServingRecord } from "../../records/comparison.ts";
import type { EvaluationRecord } from "../../records/evaluation.ts";
import { compareAccuracy } from "../compare-accuracy.ts";
import { evaluateSide } from "../evaluate-side.ts";
import { addressOf, describeFiles, describeTasks, fingerprintOf } from "../fingerprint.ts";
import type { LoadPlan, ServedSide } from "../flow-plan.ts";
import { readJsonFile } from "../json-files.ts";
import { serveAndLoad } from "../serve-and-load.ts";
import { type StepReport, stepReport } from "../step-progress.ts";
import type { BudgetPlan, BudgetTools } from "./budget-plan.ts";
import type { Candidate } from "./ladder.ts";

/** Enough requests for a figure of a few per cent; the whole takes seconds for a small model. */
const load: LoadPlan = {
  concurrencies: [1, 16],
  atOnce: [],
  rates: [],
  sweep: 0,
  requestsPerSeat: 2,
  minSeconds: 0,
  requestTimeoutMs: 0,
  inputTokens: 128,
  outputTokens: 64,
};

/** Makes candidates one at a time and measures them beside the float model. What was measured is kept. */
export class CandidateMeter {
  readonly #plan: BudgetPlan;
  readonly #tools: BudgetTools;
  readonly #checkpoint: Checkpoint;
  /** What every measurement depends on. */
  readonly #inputs: Readonly<Record<string, unknown>>;
  readonly #limitsSpeed: boolean;

  constructor(plan: BudgetPlan, tools: BudgetTools, checkpoint: Checkpoint) {
    const { modelPath, windows, kernels, tasks, taskFiles, dtype, tokenizer, ignore } = plan;
    this.#plan = plan;
    this.#tools = tools;
    this.#checkpoint = checkpoint;
    this.#limitsSpeed = plan.budget.terms.some(({ metric }) => metric === "speed");
    this.#inputs = {
      step: "budget candidate",
      files: describeFiles(modelPath),
      tokens: windows.map((window) => [...window]),
      kernels,
      dtype,
      tokenizer: addressOf({ tokenizer }),
      ignore,
      load,
      calibration: tools.calibration?.tokens.sha256 ?? null,
      tasks: tasks === null ? null : describeTasks(tasks, taskFiles),
    };
  }

  /** Where the model of a candidate is, if it still is. */
  modelPath({ name }: Candidate): string {
    return path.join(this.#plan.searchPath, name, "model");
  }

  async measure(candidate: Candidate): Promise<BudgetFigures> {
    const { progress, signal } = this.#tools;
    signal.throwIfAborted();
    const file = path.join(this.#plan.searchPath, candidate.name, "figures.json");
    const fingerprint = fingerprintOf({ ...this.#inputs, recipe: candidate.recipe });
    const report = stepReport(`${candidate.name}: `, progress);
    const earlier = readJsonFile(file) as { fingerprint?: unknown; figures?: unknown } | null;
    const known = budgetFiguresSchema.safeParse(earlier?.figures).data;
    // Where no budget had a limit of speed, the float model was not served.
    const isAnswer = known !== undefined && !(this.#limitsSpeed && known.speedup === null);
    if (earlier?.fingerprint === fingerprint && isAnswer) {
      report.keep(file);
      return known;
    }
    // Figures of another plan would be taken for those of this model, should the run end before they are replaced.
    rmSync(file, { force: true });
    await this.make(candidate, this.modelPath(candidate));
    const figures = await this.#measureModel(candidate, report);
    writeFileAtomically(file, `${JSON.stringify({ fingerprint, figures }, null, 2)}\n`);
    return figures;
  }

  /** Writes the model of a candidate. */
  async make(candidate: Candidate, outPath: string): Promise<void> {
    const { dtype, tokenizer, ignore, maxMemoryBytes } = this.#plan;
    const { openModel, calibration, solver, progress } = this.#tools;
    const given = { dtype, tokenizer, ignore, maxMemoryBytes };
    const plan = { ...candidate.recipe, ...given, outPath, replaceEarlier: true };
    const report = stepReport(`${candidate.name}: `, progress);
    await quantize(this.#checkpoint, plan, { progress: report.progress, openModel, calibration, solver });
  }

  /** Renames the model first: a kill in the midst of removing it leaves none that looks whole. */
  remove(candidate: Candidate): void {
    const made = this.modelPath(candidate);
    const removed = `${made}.removed`;
    rmSync(removed, { recursive: true, force: true });
    if (!existsSync(made)) return;
    renameSync(made, removed);
    rmSync(removed, { recursive: true });
  }

  async #measureModel(candidate: Candidate, report: StepReport): Promise<BudgetFigures> {
    const divergence = await this.#compare(candidate, report);
    const base = this.#side("base");
    const own = this.#side(candidate.name);
    const baseSpeed = await this.#baseSpeed(candidate);
    const serving = await this.#serve(own);
    const speeds = speedsOf(serving);
    return {
      sizeBytes: candidate.sizeBytes,
      kl: divergence.kl.mean,
      klError: divergence.kl.standardError,
      topAgreement: divergence.topAgreement.mean,
      perplexityRatio: divergence.perplexity.ratio,
      tokensPerSecond: speeds,
      speedup: speeds["1"] === undefined || baseSpeed === null ? null : speeds["1"] / baseSpeed,
      peakMemoryBytes: serving.peakMemoryBytes,
      recovery: await this.#recovery(base, own),
    };
  }

  /** Both models over the same tokens, with the kernels that serve. */
  async #compare(
    candidate: Candidate,
    { progress }: StepReport,
  ): Promise<ReturnType<typeof summarizeDivergences>> {
    const { openLogits, openModel, signal } = this.#tools;
    const { dtype, windows } = this.#plan;
    const base = openLogits(this.#checkpoint, dtype, windows);
    try {
      const made = openModel(this.modelPath(candidate));
      const own = openLogits(made, "auto", windows);
      try {
        const parts = { a: base.source, others: [own.source], windows, progress, signal };
        const [found] = await compareLogits(parts);
        return summarizeDivergences(found!);
      } finally {
        own.close();
        made.close();
      }
    } finally {
      base.close();
    }
  }

  /** Output tokens a second of the float model with one request in flight; null where no limit asks for it. */
  async #baseSpeed({ name }: Candidate): Promise<number | null> {
    if (!this.#limitsSpeed) return null;
    const folder = path.join(this.#plan.searchPath, name, "base");
    // One that was served before a stop may be days old: both are served one right after the other.
    rmSync(folder, { recursive: true, force: true });
    return speedsOf(await this.#serve({ ...this.#side("base"), folder }))["1"] ?? null;
  }

  async #serve(side: ServedSide): Promise<ServingRecord> {
    const report = stepReport(`${side.name}: `, this.#tools.progress);
    return serveAndLoad({ load, kernels: this.#plan.kernels }, this.#tools, { side, report, round: 1 });
  }

  async #recovery(base: ServedSide, own: ServedSide): Promise<Record<string, number>> {
    const { tasks, taskFiles, kernels } = this.#plan;
    if (tasks === null) return {};
    const records: EvaluationRecord[] = [];
    for (const side of [base, own]) {
      const report = stepReport(`${side.name}: `, this.#tools.progress);
      const { record } = await evaluateSide({ ...tasks, taskFiles, kernels }, this.#tools, { side, report });
      records.push(record);
    }
    const { accuracy } = compareAccuracy(records[0]!, records[1]!);
    const rows = tasks.tasks.map((task) => [task, accuracy.find((row) => row.task === task)] as const);
    return Object.fromEntries(rows.map(([task, row]) => [task, row?.recovery ?? 0]));
  }

  #side(name: string): ServedSide {
    const { modelPath, dtype, searchPath } = this.#plan;
    const folder = path.join(searchPath, name);
    const { vocabSize } = this.#checkpoint.config;
    const served = { name, modelName: name, folder, vocabSize, engine: "millrace" };
    return name === "base"
      ? { ...served, path: modelPath, dtype }
      : { ...served, path: path.join(folder, "model"), dtype: "auto" };
  }
}

function speedsOf({ bench }: ServingRecord): Record<string, number> {
  return Object.fromEntries(
    bench.stages.map(({ concurrency, outputTokensPerSecond }) => [
      String(concurrency),
      outputTokensPerSecond,
    ]),
  );
}
