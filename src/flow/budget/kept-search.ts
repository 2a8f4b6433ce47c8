import path from "node:path";
import { readQuantizationManifest } from "../../quantize/earlier-result.ts";
import { type BudgetSearch, budgetSearchSchema } from "../../records/budget-search.ts";
import { addressOf, describeFiles, describeTasks, fingerprintOf } from "../fingerprint.ts";
import { readJsonFile } from "../json-files.ts";
import type { BudgetPlan, BudgetQuestion } from "./budget-plan.ts";

/** What a search is called in the folder of its figures. */
export const searchFile = "search.json";

/**
 * Where the answer to a question is kept within a folder: under a hash of all that an uncalibrated search depends on, so
 * that another text, task file, machine or build is searched for anew.
 */
export function placeOf(folder: string, question: BudgetQuestion): string {
  const { modelPath, budget, text, windows, tasks, taskFiles, ...rest } = question;
  const { dtype, tokenizer, ignore, format, isMixed, kernels } = rest;
  const fingerprint = fingerprintOf({
    step: "budget",
    files: describeFiles(modelPath),
    limits: budget.terms.map((term) => term.text),
    text: text.sha256,
    tokens: windows.map((window) => [...window]),
    tasks: tasks === null ? null : describeTasks(tasks, taskFiles),
    dtype,
    tokenizer: addressOf({ tokenizer }),
    ignore,
    format,
    isMixed,
    kernels,
  });
  return path.join(folder, `model-${fingerprint}`);
}

/** A search that was made before, where its model is whole; else null. */
export function findSearch({ outPath, searchPath }: BudgetPlan): BudgetSearch | null {
  if (readQuantizationManifest(outPath) === null) return null;
  return budgetSearchSchema.safeParse(readJsonFile(path.join(searchPath, searchFile))).data ?? null;
}
