import path from "node:path";
import { findSearch, placeOf } from "../flow/budget/kept-search.ts";
import type { LadderFormat } from "../flow/budget/ladder.ts";
import type { FlowPlan, MadeCandidate } from "../flow/flow-plan.ts";
import { type BudgetMeans, budgetSettings, planBudget, readQuestion, runBudget } from "./budget.ts";
import type { FlowSettings } from "./flow-settings.ts";
import { openModel } from "./model-source.ts";

/** What a budget finds, where one is asked for; a search that was made before is not made again. */
export async function withinBudget(
  { modelPath, dtype, outPath }: Pick<FlowPlan, "modelPath" | "dtype" | "outPath">,
  { candidates: { budget, text, engine }, tasks }: Pick<FlowSettings, "candidates" | "tasks">,
  means: Pick<BudgetMeans, "solver" | "signal">,
): Promise<MadeCandidate[]> {
  if (budget === undefined) return [];
  const maxTokens = budgetSettings.maxTokens.schema.parse(undefined);
  const checkpoint = openModel(modelPath);
  try {
    const question = await readQuestion({
      modelPath,
      checkpoint,
      settings: { ...tasks, budget, text, mixed: false, maxTokens },
      format: formatFor(engine),
      tokenizer: undefined,
      dtype,
      ignore: [],
      maxMemoryBytes: null,
    });
    const madePath = placeOf(path.join(outPath, "artefacts", "budget"), question);
    const plan = planBudget(question, madePath);
    const search =
      findSearch(plan) ?? (await runBudget(plan, { ...means, tokenizer: undefined, calibration: null }));
    return [{ name: `budget-${search.chosen}`, search, madePath }];
  } finally {
    checkpoint.close();
  }
}

/** What all engines read. */
function formatFor(engines: readonly string[]): LadderFormat {
  const isAll = (name: string): boolean => engines.every((engine) => engine.split(/[ =]/)[0] === name);
  if (isAll("millrace")) return "auto";
  return isAll("llama.cpp") ? "gguf" : "compressed-tensors";
}
