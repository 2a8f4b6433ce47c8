import { MillraceError } from "../../base/errors.ts";
import { formatCount } from "../../base/units.ts";
import type { ServedModel } from "../served-model.ts";

/**
 * Refuses a request that finds the engine's queue full before it costs anything: its texts need not be tokenised,
 * which under overload would hold up those that were taken. The figures are those of the newest step; what gets past
 * them is checked again by the engine. Errors: `engine_overloaded`.
 */
export async function checkQueueRoom(model: ServedModel): Promise<void> {
  const { numWaiting, numWaitingTokens, retryAfterSeconds } = await model.client.stats();
  if (retryAfterSeconds === 0) return;
  throw new MillraceError(
    "engine_overloaded",
    `The queue is full: ${formatCount(numWaiting)} requests with ${formatCount(numWaitingTokens)} prompt tokens wait. ` +
      "Try again later, or start with a larger --max-num-queued-reqs or --max-num-queued-tokens.",
    { retryAfterSeconds },
  );
}
