import { MillraceError } from "../base/errors.ts";
import { maxSpecTokens } from "../protocol/engine-client.ts";
import type { EngineOptions } from "./engine-options.ts";

/**
 * Refuses options that contradict each other, and those that would have no effect beside the others. The range of each
 * alone is checked where it is read. Errors: `invalid_option`, in the names of the command line.
 */
export function checkEngineOptions(options: EngineOptions): void {
  checkBatch(options);
  checkSpeculation(options);
  checkQueue(options);
  if (options.checkPrefixCache === true && options.enablePrefixCaching === false) {
    throw invalid(
      "--check-prefix-cache",
      "--check-prefix-cache is given, but --enable-prefix-caching is off, so there is nothing to check. Leave one of " +
        "them out.",
    );
  }
}

function checkBatch({ maxNumSeqs, maxNumBatchedTokens }: EngineOptions): void {
  if (maxNumSeqs <= maxNumBatchedTokens) return;
  throw invalid(
    "--max-num-batched-tokens",
    `--max-num-batched-tokens is ${maxNumBatchedTokens}; a step must hold one token of each of --max-num-seqs ` +
      `(${maxNumSeqs}) sequences. Raise the first or lower the second.`,
  );
}

function checkSpeculation({ speculation }: EngineOptions): void {
  const numTokens = speculation?.numTokens ?? 1;
  if (Number.isInteger(numTokens) && numTokens >= 1 && numTokens <= maxSpecTokens) return;
  throw invalid(
    "--spec-tokens",
    `--spec-tokens is ${numTokens}; a step takes 1 to ${maxSpecTokens} guesses per sequence. Give a number in that range.`,
  );
}

function checkQueue(options: EngineOptions): void {
  const { maxNumQueuedRequests: most, maxNumQueuedRequestsPerTenant: mostOfOne = 0 } = options;
  if (mostOfOne > most) {
    throw invalid(
      "--max-num-queued-reqs-per-tenant",
      `--max-num-queued-reqs-per-tenant is ${mostOfOne}, but the whole queue holds --max-num-queued-reqs (${most}), so ` +
        "no tenant reaches it. Lower the first or raise the second.",
    );
  }
  const { schedulingPolicy = "fcfs", tenantWeights = new Map() } = options;
  if (tenantWeights.size === 0 || schedulingPolicy === "fair") return;
  throw invalid(
    "--tenant-weight",
    `--tenant-weight is given for ${tenantWeights.size} tenants, but --scheduling-policy ${schedulingPolicy} reads no ` +
      "weights. Start with --scheduling-policy fair, or leave the weights out.",
  );
}

function invalid(param: string, message: string): MillraceError {
  return new MillraceError("invalid_option", message, { param });
}
