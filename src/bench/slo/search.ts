import type { SloSearchRecord, SloVerdict } from "../../records/slo-search.ts";

/** What a probe of the search found. */
export interface ProbeOutcome {
  readonly verdict: SloVerdict;
}

export interface SearchLimits {
  readonly variable: SloSearchRecord["variable"];
  /** First load that is tried, and the highest. */
  readonly from: number;
  readonly to: number;
  /** The search ends when the best and the lowest missed load are so close, as a share of the best. */
  readonly tolerance: number;
  readonly maxProbes: number;
}

export type SearchResult = Pick<
  SloSearchRecord,
  "best" | "missedAt" | "stopped" | "isConfirmed" | "isMonotone"
>;

/**
 * Finds the highest load that meets the targets: doubles until one misses them, halves down where the first does, then
 * bisects. What is undetermined counts as missed: a load is only claimed where it is shown. At the end the best is tried
 * once more, and where it misses then, the search goes on below it.
 */
export async function searchLoad(
  probe: (load: number) => Promise<ProbeOutcome>,
  { variable, from, to, tolerance, maxProbes }: SearchLimits,
): Promise<SearchResult> {
  const rounded = (load: number): number => (variable === "concurrency" ? Math.round(load) : load);
  const tried: { load: number; met: boolean }[] = [];
  let [best, missed]: [number | null, number | null] = [null, null];
  const tryLoad = async (load: number): Promise<boolean> => {
    const met = (await probe(load)).verdict === "met";
    tried.push({ load, met });
    if (met) best = Math.max(best ?? 0, load);
    else missed = Math.min(missed ?? Number.POSITIVE_INFINITY, load);
    // A load that met them before counts no more when a lower one misses them.
    if (best !== null && missed !== null && best >= missed) best = bestBelow(tried, missed);
    return met;
  };
  const result = (stopped: SearchResult["stopped"], isConfirmed: boolean): SearchResult => ({
    best,
    missedAt: missed,
    stopped,
    isConfirmed,
    isMonotone: tried.every(
      ({ load, met }) => !met || tried.every((other) => other.met || other.load >= load),
    ),
  });
  while (tried.length < maxProbes) {
    const next = nextLoad({ best, missed, from, to, tolerance }, rounded);
    if (next === null) {
      if (best === null) return result("nothing meets it", false);
      if (await tryLoad(best)) return result(missed === null ? "highest load" : "converged", true);
    } else await tryLoad(next);
  }
  return result("most probes", false);
}

/** The highest load that met the targets at every try and lies below one that missed them. */
function bestBelow(tried: readonly { load: number; met: boolean }[], missed: number): number | null {
  const met = tried.filter(({ load, met: isMet }) => isMet && load < missed).map(({ load }) => load);
  return met.length === 0 ? null : Math.max(...met);
}

interface Bracket {
  readonly best: number | null;
  readonly missed: number | null;
  readonly from: number;
  readonly to: number;
  readonly tolerance: number;
}

/** Null where there is nothing left to try. */
function nextLoad(
  { best, missed, from, to, tolerance }: Bracket,
  rounded: (load: number) => number,
): number | null {
  if (best === null && missed === null) return from;
  if (missed === null) return best! >= to ? null : Math.min(to, rounded(best! * 2));
  if (best === null) {
    const lower = rounded(missed / 2);
    // A rate has no least value; a sixteenth of the first is as good as none.
    return lower >= missed || lower < Math.min(1, from / 16) ? null : lower;
  }
  if (missed - best <= tolerance * best) return null;
  const middle = rounded((best + missed) / 2);
  return middle === best || middle === missed ? null : middle;
}
