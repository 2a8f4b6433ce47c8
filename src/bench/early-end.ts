import type { EarlyEnd } from "../records/origin.ts";

/** What ended a load that threw: the signal, or anything else. */
export function earlyEndOf(signal: AbortSignal | undefined): EarlyEnd {
  return signal?.aborted === true ? "interrupted" : "failed";
}
