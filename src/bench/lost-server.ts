import { isMillraceError, MillraceError } from "../base/errors.ts";
import { sentence } from "../base/sentence.ts";
import { firstModelOf } from "../client/served-models.ts";
import type { BenchStage, RateStage } from "../records/bench.ts";
import type { BenchOptions } from "./bench-options.ts";
import { errorsText, stageName } from "./stage-text.ts";

type Server = Pick<BenchOptions, "endpoint" | "signal" | "timeoutMs">;

/**
 * Ends a load test whose server is gone after a stage with failures: these say nothing of what it can do. Throws
 * `endpoint_failed`, or the signal's reason.
 */
export async function refuseLostServer(
  stage: BenchStage | RateStage,
  { endpoint, signal, timeoutMs }: Server,
): Promise<void> {
  if (stage.numErrors === 0) return;
  try {
    await firstModelOf(endpoint, { signal, timeoutMs: timeoutMs || undefined });
  } catch (error) {
    // A server without a list of models still answers.
    if (isMillraceError(error) && error.code === "endpoint_failed") return;
    if (!isMillraceError(error) || error.code !== "endpoint_unreachable") throw error;
    throw new MillraceError(
      "endpoint_failed",
      `${failuresOf(stage, endpoint.url)} The server does not answer any more; look at its log and run again.`,
      { cause: error },
    );
  }
}

/** How many requests of a stage failed, and what the first one met. */
export function failuresOf(stage: BenchStage | RateStage, url: string): string {
  return `${stage.numErrors} of ${stage.numRequests} requests to ${url} failed (${stageName(stage)}; ${errorsText(stage)}). The first: ${sentence(stage.firstError!)}`;
}
