import { MillraceError } from "../../base/errors.ts";
import type { ProbeVerdict, SloSearchRecord } from "../../records/slo-search.ts";

/** What a probe of the search found. */
export interface ProbeOutcome {
  readonly verdict: ProbeVerdict;
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

/** Refuses ends between which there is nothing to search. Throws `invalid_option`. */
export function checkSearchLimits({
  variable,
  from,
  to,
}: Pick<SearchLimits, "variable" | "from" | "to">): void {
  for (const [param, load] of [
    ["--search-from", from],
    ["--search-to", to],
  ] as const) {
    if (variable === "rate" || (Number.isInteger(load) && load >= 1)) continue;
    throw new MillraceError(
      "invalid_option",
      `${param} is ${load}; requests in flight are a whole number of at least 1. Give one, or search rates with --search rate.`,
      { param },
    );
  }
  if (from <= to) return;
  throw new MillraceError(
    "invalid_option",
    `--search-from ${from} is above --search-to ${to}; the search goes from a lower load to a higher one. Lower the first or raise the second.`,
    { param: "--search-from" },
  );
}

export type SearchResult = Pick<
  SloSearchRecord,
  "best" | "missedAt" | "clientLimitAt" | "stopped" | "isConfirmed" | "isMonotone"
>;

export interface Probe extends ProbeOutcome {
  readonly load: number;
}

/**
 * Finds the highest load that meets the targets: doubles until one misses them, halves down where the first does, then
 * bisects. What is undetermined counts as missed: a load is only claimed where it is shown; where no lower one is left to
 * try, it is tried once more, and the second time counts. A load that the client did not keep up with bounds the search from
 * above and says nothing of the server. At the end the best is tried once more, and where it misses then, the search goes on
 * below it.
 */
export async function searchLoad(
  probe: (load: number) => Promise<ProbeOutcome>,
  { variable, from, to, tolerance, maxProbes }: SearchLimits,
): Promise<SearchResult> {
  const rounded = (load: number): number => (variable === "concurrency" ? Math.round(load) : load);
  const tried: Probe[] = [];
  const tryLoad = async (load: number): Promise<ProbeVerdict> => {
    const { verdict } = await probe(load);
    tried.push({ load, verdict });
    return verdict;
  };
  const result = (stopped: SearchResult["stopped"], isConfirmed: boolean): SearchResult =>
    searchResultOf(tried, stopped, isConfirmed);
  while (tried.length < maxProbes) {
    const { best, missed, isMissShown, clientLimit } = edgesOf(tried);
    const isClients = clientLimit !== null && clientLimit < (missed ?? Number.POSITIVE_INFINITY);
    const ceiling = isClients ? clientLimit : missed;
    const next = nextLoad({ best, ceiling, from, to, tolerance }, rounded);
    if (next !== null) {
      await tryLoad(next);
      continue;
    }
    if (best === null) {
      if (isClients) return result("client limit", false);
      if (isMissShown) return result("nothing meets it", false);
      if (tried.filter(({ load }) => load === missed).length > 1) return result("not shown", false);
      await tryLoad(missed!);
      continue;
    }
    const again = await tryLoad(best);
    // What the client could not send shows neither that the best holds nor that it does not.
    if (again === "client limit") return result("client limit", false);
    if (again === "met")
      return result(isClients ? "client limit" : missed === null ? "highest load" : "converged", true);
  }
  return result("most probes", false);
}

/** What probes say, however far the search came. */
export function searchResultOf(
  tried: readonly Probe[],
  stopped: SearchResult["stopped"],
  isConfirmed: boolean,
): SearchResult {
  const { best, missed, clientLimit } = edgesOf(tried);
  const isMonotone = tried.every(
    ({ load, verdict }) => verdict !== "met" || tried.every((other) => !isMiss(other) || other.load >= load),
  );
  return { best, missedAt: missed, clientLimitAt: clientLimit, stopped, isConfirmed, isMonotone };
}

function isMiss({ verdict }: ProbeOutcome): boolean {
  return verdict === "missed" || verdict === "undetermined";
}

interface Edges {
  /** The highest load that met the targets below all that missed them. */
  readonly best: number | null;
  readonly missed: number | null;
  /** Whether that one was seen to miss them, and not only not shown to meet them. */
  readonly isMissShown: boolean;
  /** The lowest above the best that the client did not keep up with. */
  readonly clientLimit: number | null;
}

function edgesOf(tried: readonly Probe[]): Edges {
  // What was undetermined says nothing that a later probe of the load does not say better.
  const telling = tried.filter(
    ({ load, verdict }, index) =>
      verdict !== "undetermined" || tried.slice(index + 1).every((later) => later.load !== load),
  );
  const loads = (of: (probe: Probe) => boolean): number[] => telling.filter(of).map(({ load }) => load);
  const lowest = (values: readonly number[]): number | null =>
    values.length === 0 ? null : Math.min(...values);
  const missed = lowest(loads(isMiss));
  // A load that met them before counts no more when a lower one, or itself, misses them.
  const met = loads(({ load, verdict }) => verdict === "met" && (missed === null || load < missed));
  const best = met.length === 0 ? null : Math.max(...met);
  const isAbove = (load: number): boolean => best === null || load > best;
  const clientLimit = lowest(loads(({ load, verdict }) => verdict === "client limit" && isAbove(load)));
  const isMissShown = telling.some(({ load, verdict }) => load === missed && verdict === "missed");
  return { best, missed, isMissShown, clientLimit };
}

interface Bracket {
  readonly best: number | null;
  /** The lowest load that is known to be too much. */
  readonly ceiling: number | null;
  readonly from: number;
  readonly to: number;
  readonly tolerance: number;
}

/** Null where there is nothing left to try. */
function nextLoad(
  { best, ceiling, from, to, tolerance }: Bracket,
  rounded: (load: number) => number,
): number | null {
  if (best === null && ceiling === null) return from;
  if (ceiling === null) return best! >= to ? null : Math.min(to, rounded(best! * 2));
  if (best === null) {
    const lower = rounded(ceiling / 2);
    // A rate has no least value; a sixteenth of the first is as good as none.
    return lower >= ceiling || lower < Math.min(1, from / 16) ? null : lower;
  }
  if (ceiling - best <= tolerance * best) return null;
  const middle = rounded((best + ceiling) / 2);
  return middle === best || middle === ceiling ? null : middle;
}
