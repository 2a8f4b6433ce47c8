import type { Command } from "commander";
import { MillraceError } from "../base/errors.ts";
import { isUrl } from "../flow/engines/create-launcher.ts";
import { refuseIdleFlags, refuseRepeats } from "./contradicting-flags.ts";
import { candidateSettings, type FlowSettings, flowLoadSettings } from "./flow-settings.ts";
import { taskSettings } from "./task-choice.ts";

/** Flags of a flow that would be passed over in silence, and levels that would overwrite each other. Throws `invalid_option`. */
export function refuseIdleFlowFlags(command: Command, { candidates, tasks, load }: FlowSettings): void {
  const { text, minRecovery } = candidateSettings;
  if (candidates.budget === undefined)
    refuseIdleFlags(command, { text }, "only a budget reads it. Give --budget too, or leave it out.");
  if (tasks.tasks?.join() === "none") {
    const { tasks: _, ...ofTasks } = taskSettings;
    // A budget may name tasks of its own.
    const rest = candidates.budget === undefined ? { ...ofTasks, minRecovery } : { minRecovery };
    refuseIdleFlags(command, rest, "--tasks none leaves the quality out. Leave out one of the two.");
  }
  if (load.concurrency.length === 0) {
    const { requestsPerSeat } = flowLoadSettings;
    refuseIdleFlags(
      command,
      { requestsPerSeat },
      "--concurrency none has no seats. Leave out one of the two.",
    );
  }
  refuseRepeats("--concurrency", load.concurrency);
  refuseRepeats("--at-once", load.atOnce);
  refuseRepeats("--rates", load.rates);
  refuseStrangersTasks(candidates.engine, tasks.tasks);
}

/** Tasks are answered by the model here; what an address would answer is another question. */
function refuseStrangersTasks(engines: readonly string[], tasks: readonly string[] | undefined): void {
  if (!engines.every(isUrl) || tasks?.join() === "none") return;
  throw new MillraceError(
    "invalid_option",
    `A flow does not ask ${engines[0]} for answers to tasks. Add --tasks none, and measure its quality with millrace evaluate --url ${engines[0]}.`,
    { param: "--tasks" },
  );
}
