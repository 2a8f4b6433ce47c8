import { existsSync, renameSync, rmdirSync } from "node:fs";
import path from "node:path";
import { MillraceError } from "../../base/errors.ts";
import { lockFolder } from "../../base/folder-lock.ts";
import { formatBytes } from "../../base/units.ts";
import { writeFileAtomically } from "../../base/write-file.ts";
import type { Checkpoint } from "../../formats/checkpoint.ts";
import type { CalibrationTokens } from "../../quantize/calibration/calibration-tokens.ts";
import type { CalibrationTools } from "../../quantize/calibration/collect-statistics.ts";
import { KeptInputs } from "../../quantize/calibration/kept-inputs.ts";
import { checkTarget } from "../../quantize/output-folder.ts";
import type { BudgetSearch, BudgetTrial } from "../../records/budget-search.ts";
import { startOrigin } from "../../records/origin.ts";
import { describeFiles, fingerprintOf } from "../fingerprint.ts";
import { readJsonFile } from "../json-files.ts";
import type { TypeGroup } from "./allocate-types.ts";
import { type Budget, boundsQuality, brokenTerms, describeFigure } from "./budget.ts";
import type { BudgetPlan, BudgetTools } from "./budget-plan.ts";
import { findWithin, type Measure, sizeLimitOf } from "./find-within.ts";
import { searchFile } from "./kept-search.ts";
import { type Candidate, listCandidates } from "./ladder.ts";
import { CandidateMeter } from "./measure-candidate.ts";
import { measureSensitivity } from "./measure-sensitivity.ts";
import { mixedCandidates } from "./mixed-candidates.ts";

/** Sequences that sensitivity is measured on, and the tokens of each: differences of KL, which need few. */
const numWindows = 4;
const windowLength = 128;

/**
 * Makes the model that a budget asks for: measures candidates with the kernels that serve, and puts the one that is
 * taken at `plan.outPath`. Figures stay in `plan.searchPath`, from which a stopped search goes on; one search at a time
 * writes there. Throws `output_exists`, `budget_unmet`, and what quantising, serving and evaluating throw.
 */
export async function searchBudget(
  plan: BudgetPlan,
  tools: BudgetTools,
  onTrial: (trial: BudgetTrial) => void = () => {},
): Promise<BudgetSearch> {
  checkTarget(plan.outPath, false);
  const lock = lockFolder(plan.searchPath);
  try {
    return await searchAlone(plan, tools, onTrial);
  } finally {
    lock.release();
  }
}

async function searchAlone(
  plan: BudgetPlan,
  tools: BudgetTools,
  onTrial: (trial: BudgetTrial) => void,
): Promise<BudgetSearch> {
  const { budget, outPath, searchPath, kernels } = plan;
  const finishOrigin = startOrigin(kernels);
  const checkpoint = tools.openModel(plan.modelPath);
  try {
    const candidates = await candidatesOf(plan, tools, checkpoint);
    // Candidates are made of the same model, so that what goes into its linears is found once.
    const calibration = tools.calibration && { ...tools.calibration, kept: new KeptInputs() };
    const meter = new CandidateMeter(plan, { ...tools, calibration }, checkpoint);
    const trials = new Map<Candidate, BudgetTrial>();
    let kept: Candidate | null = null;
    const measure: Measure = async (candidate) => {
      const known = trials.get(candidate);
      if (known !== undefined) return known.figures;
      const figures = await meter.measure(candidate);
      const broken = brokenTerms(budget, figures).map(({ text }) => text);
      const trial = { name: candidate.name, figures, broken };
      trials.set(candidate, trial);
      onTrial(trial);
      // One model at a time is on the disk beside the one that is being made: the best so far that fits.
      const isBest = broken.length === 0 && (kept === null || isBetter(trial, trials.get(kept)!, budget));
      const removed = isBest ? kept : candidate;
      if (removed !== null) meter.remove(removed);
      if (isBest) kept = candidate;
      return figures;
    };
    const chosen = await findWithin(candidates, budget, measure);
    const record: BudgetSearch = {
      kind: "budget-search",
      model: plan.modelName,
      budget: budget.terms.map(({ text }) => text),
      text: { ...plan.text, numTokens: plan.windows.reduce((sum, window) => sum + window.length - 1, 0) },
      trials: [...trials.values()].toSorted((a, b) => a.figures.sizeBytes - b.figures.sizeBytes),
      chosen: chosen?.name ?? null,
      origin: finishOrigin(),
    };
    writeFileAtomically(path.join(searchPath, searchFile), `${JSON.stringify(record, null, 2)}\n`);
    if (chosen === null) throw unmet(budget, candidates, record.trials, calibration !== null);
    await place(chosen, meter, outPath);
    if (kept !== null) meter.remove(kept);
    return record;
  } finally {
    checkpoint.close();
  }
}

/** Smallest first. Throws `invalid_option` where sensitivity is asked for without tokens to measure it on. */
async function candidatesOf(
  plan: BudgetPlan,
  tools: BudgetTools,
  checkpoint: Checkpoint,
): Promise<readonly Candidate[]> {
  const { dtype, tokenizer, ignore, isMixed, budget, format } = plan;
  const { calibration } = tools;
  const options = { dtype, tokenizer, ignore, isCalibrated: calibration !== null };
  if (!isMixed) return listCandidates(checkpoint, { ...options, format });
  if (calibration === null) {
    throw new MillraceError(
      "invalid_option",
      "--mixed measures on a text what each matrix costs, but none was given. Give a text or a file of token ids with --calibration.",
      { param: "--calibration" },
    );
  }
  const groups = await sensitivityOf(plan, { ...tools, calibration }, checkpoint);
  const maxBytes = sizeLimitOf(budget);
  return mixedCandidates(checkpoint, groups, { ...options, maxBytes }).toSorted(
    (a, b) => a.sizeBytes - b.sizeBytes,
  );
}

/** Of an earlier search of the same model and tokens, where its folder holds it. */
async function sensitivityOf(
  { searchPath, modelPath, kernels }: BudgetPlan,
  { calibration, ...tools }: BudgetTools & { readonly calibration: CalibrationTools },
  checkpoint: Checkpoint,
): Promise<readonly TypeGroup[]> {
  const windows = sensitivityWindows(calibration.tokens);
  const tokens = windows.map((window) => [...window]);
  const inputs = { step: "sensitivity", files: describeFiles(modelPath), tokens, kernels };
  const fingerprint = fingerprintOf(inputs);
  const file = path.join(searchPath, "sensitivity.json");
  const earlier = readJsonFile(file) as { fingerprint?: unknown; groups?: readonly TypeGroup[] } | null;
  if (earlier?.fingerprint === fingerprint && earlier.groups !== undefined) return earlier.groups;
  const groups = await measureSensitivity({ ...tools, checkpoint, windows });
  writeFileAtomically(file, `${JSON.stringify({ fingerprint, groups })}\n`);
  return groups;
}

/** The first tokens of some sequences, evenly over the text. */
function sensitivityWindows({ sequences }: CalibrationTokens): readonly Int32Array[] {
  const every = Math.max(1, Math.floor(sequences.length / numWindows));
  return sequences
    .filter((_, index) => index % every === 0)
    .slice(0, numWindows)
    .map((sequence) => sequence.slice(0, windowLength + 1));
}

/** Of two that fit: the smaller where quality is bounded, else the one that is nearer to the float model. */
function isBetter(a: BudgetTrial, b: BudgetTrial, budget: Budget): boolean {
  return boundsQuality(budget) ? a.figures.sizeBytes < b.figures.sizeBytes : a.figures.kl < b.figures.kl;
}

/** Moves the chosen model to its place, or makes it again: the same bytes. */
async function place(chosen: Candidate, meter: CandidateMeter, outPath: string): Promise<void> {
  const made = meter.modelPath(chosen);
  // Hours have passed since it was looked at first.
  const target = checkTarget(outPath, false);
  if (!existsSync(made)) {
    await meter.make(chosen, target);
    return;
  }
  if (existsSync(target)) rmdirSync(target);
  renameSync(made, target);
}

function unmet(
  budget: Budget,
  candidates: readonly Candidate[],
  trials: readonly BudgetTrial[],
  isCalibrated: boolean,
): MillraceError {
  const wanted = budget.terms.map(({ text }) => text).join(", ");
  const smallest = candidates[0]!;
  const best = trials.toSorted((a, b) => a.broken.length - b.broken.length || a.figures.kl - b.figures.kl)[0];
  const reached =
    best === undefined
      ? `The smallest candidate, ${smallest.name}, takes ${formatBytes(smallest.sizeBytes)}`
      : `The nearest is ${best.name} with ${budget.terms.map((term) => describeFigure(term, best.figures)).join(", ")}`;
  // A text to calibrate on makes a candidate better, not smaller or faster.
  const isHelped = !isCalibrated && best !== undefined && boundsQuality(budget);
  const advice = isHelped
    ? "Loosen a limit, or give `millrace quantize` a --calibration, which makes few bits better."
    : "Loosen a limit.";
  return new MillraceError(
    "budget_unmet",
    `No candidate keeps within --budget ${JSON.stringify(wanted)} (${trials.length} measured). ${reached}. ${advice}`,
    { param: "--budget" },
  );
}
