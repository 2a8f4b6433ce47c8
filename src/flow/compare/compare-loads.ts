import type { ConcurrencyFigures, Degradation, LoadComparison } from "../../records/load-comparison.ts";
import { errorShareOf, type LoadLevel, levelName, loadOf } from "../../records/load-level.ts";
import { errorBound, isFailing, judgeLevel, type SloTerm } from "../../records/slo.ts";
import { cellAt, equalConcurrency, equalRate, steadyLevels } from "./load-grid.ts";

/** A run of load and what is known of the KV cache behind it. */
export interface LoadedRun {
  readonly levels: readonly LoadLevel[];
  /** Tokens that the cache holds, and the longest request of the load; null where not known. */
  readonly kvCache: { readonly poolTokens: number; readonly requestTokens: number } | null;
}

/** Sets runs beside each other: equal concurrency, equal rate, degradation, concurrency figures, broken bounds. */
export function compareLoads(runs: readonly LoadedRun[], slo: readonly SloTerm[]): LoadComparison {
  const levels = runs.map((run) => steadyLevels(run.levels));
  const equalLoad = equalLoadOf(levels);
  return {
    slo: [...slo],
    equalConcurrency: { rows: equalConcurrency(levels) },
    equalRate: { rows: equalRate(levels) },
    equalLoad,
    degradation: levels.map((own) => degradationOf(own, equalLoad)),
    concurrency: runs.map((run, index) => concurrencyOf(run, levels[index]!, slo)),
    violations: levels.map((own) => violationsOf(own, slo)),
  };
}

/** The greatest load that all runs reached. */
function equalLoadOf(runs: readonly (readonly LoadLevel[])[]): number | null {
  const ends = runs.flatMap((levels) => (levels.length === 0 ? [] : [Math.max(...levels.map(loadOf))]));
  return ends.length < 2 ? null : Math.min(...ends);
}

function degradationOf(levels: readonly LoadLevel[], equalLoad: number | null): Degradation | null {
  // Answers that came whole in one read have no time between tokens, and nothing is a multiple of that.
  const measured = levels.flatMap((level) =>
    level.tpotMs === null || level.tpotMs.p50 <= 0
      ? []
      : [{ inFlight: loadOf(level), tpotMs: level.tpotMs.p50 }],
  );
  const [first, last] = [measured[0], measured.at(-1)];
  if (first === undefined || last === undefined || last.inFlight <= first.inFlight) return null;
  const atEqualLoad = equalLoad === null ? null : (cellAt(levels, loadOf, equalLoad)?.tpotMs ?? null);
  return {
    first,
    last,
    ratio: last.tpotMs / first.tpotMs,
    slopeMs: (last.tpotMs - first.tpotMs) / (last.inFlight - first.inFlight),
    ratioAtEqualLoad: atEqualLoad === null ? null : atEqualLoad / first.tpotMs,
    levels: measured.map((level) => ({ ...level, ratio: level.tpotMs / first.tpotMs })),
  };
}

function concurrencyOf(
  { kvCache }: LoadedRun,
  levels: readonly LoadLevel[],
  slo: readonly SloTerm[],
): ConcurrencyFigures {
  const lastOpen = levels.filter(({ kind }) => kind === "open").at(-1);
  return {
    kvCapacity:
      kvCache === null
        ? null
        : {
            byArithmetic: Math.floor(kvCache.poolTokens / kvCache.requestTokens),
            poolTokens: kvCache.poolTokens,
          },
    withinSlo: withinSlo(levels, slo),
    lastLevel: lastOpen?.inFlight ?? null,
  };
}

function withinSlo(levels: readonly LoadLevel[], slo: readonly SloTerm[]): ConcurrencyFigures["withinSlo"] {
  const all = levels.map((level) => ({ inFlight: loadOf(level), isKept: keeps(level, slo) }));
  const judged = all.filter(({ isKept }) => isKept !== null);
  if (judged.length === 0) return null;
  const broken = judged.findIndex(({ isKept }) => !isKept);
  const below = broken === -1 ? judged.at(-1) : judged[broken - 1];
  return {
    inFlight: below?.inFlight ?? null,
    isLeastBroken: all[0]!.isKept === false,
    brokenAt: judged[broken]?.inFlight ?? null,
    highestKept: judged.findLast(({ isKept }) => isKept)?.inFlight ?? null,
  };
}

/** Null where a bound cannot be judged: its figure was not measured, or has too few samples. */
function keeps(level: LoadLevel, slo: readonly SloTerm[]): boolean | null {
  if (slo.length > 0 && isFailing(level)) return false;
  const findings = judgeLevel(level, slo).map(({ isMet, isWeak }) => (isWeak ? null : isMet));
  if (findings.includes(false)) return false;
  return findings.length === 0 || findings.includes(null) ? null : true;
}

function violationsOf(
  levels: readonly LoadLevel[],
  slo: readonly SloTerm[],
): LoadComparison["violations"][number] {
  if (slo.length === 0) return [];
  return levels.flatMap((level, index) => {
    const later = levels.slice(index + 1);
    const place = { level: levelName(level), inFlight: loadOf(level) };
    const failing = {
      ...place,
      bound: errorBound,
      valueMs: null,
      errorShare: errorShareOf(level),
      isWeak: false,
      isPassing: later.some((each) => !isFailing(each)),
    };
    const broken = judgeLevel(level, slo).filter(({ isMet }) => isMet === false);
    return [
      ...(isFailing(level) ? [failing] : []),
      ...broken.map(({ term, valueMs, isWeak }) => ({
        ...place,
        bound: term.text,
        valueMs,
        errorShare: null,
        isWeak,
        isPassing: later.some((each) => judgeLevel(each, [term])[0]!.isMet === true),
      })),
    ];
  });
}
