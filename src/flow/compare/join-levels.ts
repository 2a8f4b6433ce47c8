import type { Latency, LoadLevel } from "../../records/load-level.ts";

/** Levels of one load, which a tool measured several times, become the rounds of one level; others stay as they are. */
export function joinRepeats(
  measured: readonly { readonly load: string; readonly level: LoadLevel }[],
): LoadLevel[] {
  const byLoad = new Map<string, LoadLevel[]>();
  for (const { load, level } of measured) byLoad.set(load, [...(byLoad.get(load) ?? []), level]);
  return [...byLoad.values()].map((repeats) => (repeats.length === 1 ? repeats[0]! : joinOf(repeats)));
}

/** Rates are means: the tools that are read so run each repeat for as many requests, not for as long. */
function joinOf(repeats: readonly LoadLevel[]): LoadLevel {
  const mean = (of: (level: LoadLevel) => number): number =>
    repeats.reduce((sum, level) => sum + of(level), 0) / repeats.length;
  const sum = (of: (level: LoadLevel) => number | null): number | null =>
    repeats.reduce<number | null>((total, level) => {
      const count = of(level);
      return total === null || count === null ? null : total + count;
    }, 0);
  return {
    ...repeats[0]!,
    inFlight: mean(({ inFlight }) => inFlight),
    requestsPerSecond: mean(({ requestsPerSecond }) => requestsPerSecond),
    outputTokensPerSecond: mean(({ outputTokensPerSecond }) => outputTokensPerSecond),
    totalTokensPerSecond: repeats.some(({ totalTokensPerSecond }) => totalTokensPerSecond === null)
      ? null
      : mean(({ totalTokensPerSecond }) => totalTokensPerSecond!),
    ttftMs: joinLatencies(repeats.map(({ ttftMs }) => ttftMs)),
    tpotMs: joinLatencies(repeats.map(({ tpotMs }) => tpotMs)),
    itlMs: joinLatencies(repeats.map(({ itlMs }) => itlMs)),
    e2eMs: joinLatencies(repeats.map(({ e2eMs }) => e2eMs)),
    numRequests: sum(({ numRequests }) => numRequests),
    numErrors: sum(({ numErrors }) => numErrors),
    rounds: repeats.map(({ outputTokensPerSecond, ttftMs, tpotMs, e2eMs }) => ({
      outputTokensPerSecond,
      ttftMs: ttftMs?.mean ?? null,
      tpotMs: tpotMs?.mean ?? null,
      e2eMs: e2eMs?.mean ?? null,
    })),
  };
}

/**
 * Distributions of several rounds without their samples: the mean of each statistic, by the number of samples; null for one
 * that a round does not tell.
 */
export function joinLatencies(rounds: readonly (Latency | null)[]): Latency | null {
  const known = rounds.filter((round) => round !== null);
  if (known.length === 0) return null;
  const count = known.reduce((sum, round) => sum + (round.count ?? 1), 0);
  const mean = (values: readonly (number | null)[]): number | null =>
    values.reduce<number | null>(
      (sum, value, index) =>
        sum === null || value === null ? null : sum + (value * (known[index]!.count ?? 1)) / count,
      0,
    );
  return {
    count: known.some((round) => round.count === null) ? null : count,
    mean: mean(known.map((round) => round.mean)),
    p50: mean(known.map(({ p50 }) => p50))!,
    p90: mean(known.map(({ p90 }) => p90)),
    p95: mean(known.map(({ p95 }) => p95)),
    p99: mean(known.map(({ p99 }) => p99)),
    weak: [...new Set(known.flatMap(({ weak }) => weak))],
  };
}
