import path from "node:path";
import { isMillraceError, messageOf } from "../base/errors.ts";
import { LaunchError } from "../protocol/endpoint-launcher.ts";
import type { ComparisonRecord, ServingRecord, Variant } from "../records/comparison.ts";
import { composeFlow, type MeasuredModel, type MeasuredVariant } from "./compose-flow.ts";
import { engineNames, isUrl } from "./engines/create-launcher.ts";
import { evaluateSide, type KeptEvaluation } from "./evaluate-side.ts";
import type { FlowPlan, FlowTools, ServedSide } from "./flow-plan.ts";
import { makeModels } from "./make-models.ts";
import { serveAndLoad } from "./serve-and-load.ts";
import { StepNumbers } from "./step-progress.ts";
import { writeComparison } from "./write-comparison.ts";

/**
 * Makes the candidates of a model, measures the quality of all, serves and loads each in several rounds, and writes the
 * comparison. One model is in memory at a time. Finished steps whose inputs did not change are kept. What cannot be
 * served is told in the comparison and holds up nothing else.
 *
 * Errors: those of the steps; where nothing at all could be served, that of the first. The files of finished steps stay,
 * and the next run goes on from them.
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
  const numModels = 1 + plan.candidates.length;
  const numEvaluations = plan.tasks.length === 0 ? 0 : numModels;
  const numServed = plan.engines.reduce((sum, engine) => sum + numServedBy(engine, numModels), 0);
  const numServings = numServed * plan.numRounds;
  const steps = new StepNumbers(plan.candidates.length + numEvaluations + numServings, tools);
  const models = await makeModels(plan, tools, steps);
  const evaluations: (KeptEvaluation | null)[] = [];
  for (const { side } of models) {
    evaluations.push(
      plan.tasks.length > 0 ? await evaluateSide(plan, tools, { side, report: steps.next(side.name) }) : null,
    );
  }
  const measured = models.map(
    (model, index): MeasuredModel => ({ ...model, evaluation: evaluations[index]! }),
  );
  const variants = await serveAll(plan, tools, { models: measured, steps });
  const record = composeFlow(plan, variants);
  writeComparison(plan.outPath, record);
  return record;
}

/**
 * Every model with every engine, round after round; every second round runs backwards (ABBA), so that what drifts with
 * time, such as the heat of the processor, falls on all alike.
 */
async function serveAll(
  plan: FlowPlan,
  tools: FlowTools,
  { models, steps }: { readonly models: readonly MeasuredModel[]; readonly steps: StepNumbers },
): Promise<MeasuredVariant[]> {
  const names = engineNames(plan.engines);
  const subjects = plan.engines.flatMap((engine, index) =>
    models.slice(0, numServedBy(engine, models.length)).map((model) => ({
      model,
      side: servedSideOf(plan, model, { engine, engineName: names[index]! }),
      engineName: names[index]!,
    })),
  );
  const servings = new Map<ServedSide, ServingRecord[]>(subjects.map(({ side }) => [side, []]));
  const failures = new Map<ServedSide, unknown>();
  for (let round = 1; round <= plan.numRounds; round += 1) {
    for (const { side } of round % 2 === 1 ? subjects : subjects.toReversed()) {
      const report = steps.next(plan.numRounds === 1 ? side.name : `${side.name}, round ${round}`);
      if (failures.has(side)) continue;
      try {
        const serving = await serveAndLoad(plan, tools, { side, report, round });
        servings.get(side)!.push(serving);
        tools.onServing?.(side, serving);
      } catch (error) {
        if (!isMillraceError(error) || error.code === "interrupted") throw error;
        report.progress.finish(`could not be measured: ${error.message.split("\n")[0]}`);
        failures.set(side, error);
      }
    }
  }
  const hasFigures = [...servings.values()].some((rounds) => rounds.length > 0);
  if (!hasFigures) throw failures.get(subjects[0]!.side);
  return subjects.map(({ model, side, engineName }) => ({
    model: isUrl(side.engine) ? strangerOf(model) : model,
    name: side.name,
    engine: engineName,
    servings: servings.get(side)!,
    failure: failures.has(side) ? failureOf(failures.get(side)) : null,
  }));
}

function failureOf(error: unknown): NonNullable<Variant["failure"]> {
  const kind = error instanceof LaunchError ? error.fault : "failed under load";
  return { kind, message: messageOf(error) };
}

/** How many of the models, from the first, an engine serves; an address has its own one, whatever a flow makes. */
function numServedBy(engine: string, numModels: number): number {
  return isUrl(engine) ? 1 : numModels;
}

/** Nothing that was measured of the flow's own model holds for what an address serves. */
function strangerOf(model: MeasuredModel): MeasuredModel {
  const unknown = { weights: null, runAs: null, sizeBytes: null, manifest: null, search: null };
  return { ...model, ...unknown, evaluation: null };
}

function servedSideOf(
  plan: FlowPlan,
  { side }: MeasuredModel,
  { engine, engineName }: { readonly engine: string; readonly engineName: string },
): ServedSide {
  const isAlone = plan.engines.length === 1;
  const name = isUrl(engine) ? engine : isAlone ? side.name : `${side.name} ${engineName}`;
  return { ...side, name, engine, folder: path.join(plan.outPath, "artefacts", side.name) };
}
