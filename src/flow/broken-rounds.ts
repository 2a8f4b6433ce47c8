import { formatDuration } from "../base/units.ts";
import type { ServingRecord } from "../records/comparison.ts";
import type { Origin } from "../records/origin.ts";

interface Measured extends Pick<ServingRecord, "round" | "readyMs"> {
  readonly bench: { readonly origin: Pick<Origin, "startedAt" | "durationMs"> };
}

/** Longest pause between two parts of one round, without the start of a server, that belongs to one run. */
const maxPauseMs = 60_000;

/** Rounds whose parts lie far apart, such as those that a later run finished: what changed between the parts does not fall on all alike. */
export function brokenRounds(servings: readonly Measured[]): string[] {
  const rounds = [...new Set(servings.map(({ round }) => round))].sort((a, b) => a - b);
  return rounds.flatMap((round) => {
    const parts = servings
      .filter((serving) => serving.round === round)
      .map(({ bench: { origin }, readyMs }) => ({
        startMs: Date.parse(origin.startedAt) - (readyMs ?? 0),
        endMs: Date.parse(origin.startedAt) + origin.durationMs,
      }))
      .sort((a, b) => a.startMs - b.startMs);
    const pauses = parts.slice(1).map(({ startMs }, index) => startMs - parts[index]!.endMs);
    const longest = Math.max(0, ...pauses);
    return longest <= maxPauseMs
      ? []
      : [
          `The parts of round ${round} were measured ${formatDuration(longest)} apart, as the flow was stopped or something that could not be measured came between: what changed on the machine meanwhile is part of their differences.`,
        ];
  });
}
