import { relativeSpread, type Strata, sliceError } from "../../bench/ratio-interval.ts";
import type { LoadLevel } from "../../records/load-level.ts";

/**
 * The slices' figures by their place in their rounds. The throughput at a rate is that of the arrivals, and so is its spread
 * from slice to slice.
 */
export function strataOf(
  { kind, slices: rounds }: Pick<LoadLevel, "kind" | "slices">,
  name: keyof LoadLevel["spread"],
): Strata {
  if (kind === "open" && name === "outputTokensPerSecond") return [];
  const numPlaces = Math.max(0, ...rounds.map(({ length }) => length));
  return Array.from({ length: numPlaces }, (_, place) =>
    rounds.flatMap((slices) => slices[place]?.[name] ?? []).filter((value) => value > 0),
  );
}

/** What a level's own slices say of how sure its figures are, whether or not another is compared with it. */
export function spreadOf(level: Pick<LoadLevel, "kind" | "slices">): LoadLevel["spread"] {
  const ofFigure = (name: keyof LoadLevel["spread"]): number | null => {
    const error = sliceError(strataOf(level, name));
    return error && relativeSpread(error);
  };
  return {
    outputTokensPerSecond: ofFigure("outputTokensPerSecond"),
    ttftMs: ofFigure("ttftMs"),
    tpotMs: ofFigure("tpotMs"),
    e2eMs: ofFigure("e2eMs"),
  };
}
