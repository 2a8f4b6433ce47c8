import type { EngineStats } from "../protocol/engine-client.ts";

/** Guesses below which a share says nothing. */
const minGuesses = 100;

/** What was guessed between two readings. */
interface Guesses {
  readonly numDrafts: number;
  readonly numDrafted: number;
  readonly numAccepted: number;
  /** Share of right guesses at each position, as far as any were made. */
  readonly rates: readonly number[];
}

/** vLLM's line about guesses since the last one; null when none were made. */
export function speculationLine(before: EngineStats, after: EngineStats, seconds: number): string | null {
  const { numDrafts, numDrafted, numAccepted, rates } = guessesBetween(before, after);
  if (numDrafts === 0) return null;
  const perSecond = (count: number): string => (count / Math.max(seconds, 1e-3)).toFixed(2);
  return (
    `SpecDecoding metrics: Mean acceptance length: ${(1 + numAccepted / numDrafts).toFixed(2)}, ` +
    `Accepted throughput: ${perSecond(numAccepted)} tokens/s, Drafted throughput: ${perSecond(numDrafted)} tokens/s, ` +
    `Accepted: ${numAccepted} tokens, Drafted: ${numDrafted} tokens, ` +
    `Per-position acceptance rate: ${rates.map((rate) => rate.toFixed(3)).join(", ")}, ` +
    `Avg Draft acceptance rate: ${((100 * numAccepted) / numDrafted).toFixed(1)}%`
  );
}

/** What to change by the share of right guesses since the last line; null when there is nothing to. */
export function speculationAdvice(before: EngineStats, after: EngineStats): string | null {
  const { numDrafted, numAccepted, rates } = guessesBetween(before, after);
  if (numDrafted < minGuesses) return null;
  const share = numAccepted / numDrafted;
  const seen = `${Math.floor(100 * share)}% of the guessed tokens were right`;
  if (share < 0.4) {
    return (
      `${seen}: below 40% guessing seldom pays, and the engine makes few guesses. For such text leave out ` +
      "--spec-method, or give a --spec-model that is closer to the model."
    );
  }
  const firstRare = rates.findIndex((rate) => rate < (share < 0.6 ? 0.5 : 0.6));
  const numUseful = firstRare === -1 ? rates.length : Math.max(1, firstRare);
  if (share < 0.6) {
    return (
      `${seen}: below 60% late guesses are mostly wasted. Start with --spec-tokens ${numUseful}, the guesses of which ` +
      "at least half were right, or give a --spec-model that is closer to the model."
    );
  }
  if (share < 0.8 && numUseful < rates.length) {
    return (
      `${seen}: below 80% the last guesses bring little. --spec-tokens ${numUseful} keeps those of which at least 60% ` +
      "were right."
    );
  }
  if (share < 0.8) return `${seen}: below 80% a --spec-model that is closer to the model would gain more.`;
  return null;
}

function guessesBetween(before: EngineStats, after: EngineStats): Guesses {
  const rates: number[] = [];
  for (const [position, total] of after.numDraftTokensPerPos.entries()) {
    const numDrafted = total - (before.numDraftTokensPerPos[position] ?? 0);
    if (numDrafted === 0) break;
    const numAccepted =
      after.numAcceptedTokensPerPos[position]! - (before.numAcceptedTokensPerPos[position] ?? 0);
    rates.push(numAccepted / numDrafted);
  }
  return {
    numDrafts: after.numDrafts - before.numDrafts,
    numDrafted: after.numDraftTokens - before.numDraftTokens,
    numAccepted: after.numAcceptedTokens - before.numAcceptedTokens,
    rates,
  };
}
