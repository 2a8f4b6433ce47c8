import { rmSync } from "node:fs";
import path from "node:path";
import type { TaskChoice } from "../evaluate/check-tasks.ts";
import { evaluateTasks } from "../evaluate/evaluate.ts";
import { Journal, remember } from "../evaluate/requests/journal.ts";
import type { EvaluationRecord } from "../records/evaluation.ts";
import { findEvaluation, writeEvaluation } from "./evaluation-files.ts";
import { describeFiles, describeTasks, fingerprintOf } from "./fingerprint.ts";
import type { FlowPlan, FlowTools, Side } from "./flow-plan.ts";
import type { StepReport } from "./step-progress.ts";

/** Which model is evaluated. */
interface EvaluateStep {
  readonly side: Side;
  readonly report: StepReport;
}

/** An evaluation and the folder that holds it. */
export interface KeptEvaluation {
  readonly record: EvaluationRecord;
  readonly folder: string;
}

/** Runs the tasks of a plan on one model; or returns the record of an earlier run with the same inputs. */
export async function evaluateSide(
  plan: TaskChoice & Pick<FlowPlan, "kernels" | "taskFiles">,
  tools: Pick<FlowTools, "openTaskModel" | "signal">,
  { side, report }: EvaluateStep,
): Promise<KeptEvaluation> {
  const answers = { kernels: plan.kernels, files: describeFiles(side.path), dtype: side.dtype };
  const fingerprint = fingerprintOf({
    step: "evaluation",
    ...answers,
    ...describeTasks(plan, plan.taskFiles),
  });
  const folder = path.join(side.folder, `evaluation-${fingerprint}`);
  const earlier = findEvaluation(folder, fingerprint);
  if (earlier !== null) {
    report.keep(earlier.file);
    return { record: earlier.record, folder };
  }
  const opened = await tools.openTaskModel(side.path, side.dtype);
  // A run that is stopped in this step goes on from the answers that the model has given, also with other limits.
  const journalFile = path.join(side.folder, "answers.jsonl");
  try {
    const record = await evaluateTasks({
      tasks: plan.tasks,
      registry: plan.registry,
      limits: plan.limits,
      splits: plan.splits,
      dataDir: plan.dataDir,
      hubRows: plan.hubRows,
      numFewshot: plan.numFewshot,
      model: remember(opened.model, new Journal(journalFile), fingerprintOf({ step: "answer", ...answers })),
      modelName: side.modelName,
      modelArgs: opened.modelArgs,
      tokenizer: opened.tokenizer,
      kernels: opened.kernels,
      progress: report.progress,
      signal: tools.signal,
    });
    writeEvaluation(folder, record, fingerprint);
    rmSync(journalFile, { force: true });
    return { record, folder };
  } finally {
    await opened.close();
  }
}
