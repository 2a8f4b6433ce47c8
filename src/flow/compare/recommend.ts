import type { ComparisonRecord, Pair, Recommendation, SpeedRow, Variant } from "../../records/comparison.ts";
import { errorShareOf, levelName } from "../../records/load-level.ts";
import { isFailing } from "../../records/slo.ts";
import { accuracyVerdict } from "../../report/accuracy.ts";
import { headlineRows, recoveryOf } from "../../report/recovery.ts";
import type { BudgetEvidence } from "../budget/describe-search.ts";

/** What a recommendation is to aim at. */
export interface Aim {
  /** The least share of the base's quality that is to be kept. */
  readonly minRecovery: number;
  /** What budgets showed, by the names of the variants that they found. */
  readonly budgets: ReadonlyMap<string, BudgetEvidence>;
}

type Evidence = Pick<ComparisonRecord, "variants" | "pairs" | "load">;

/** A variant as the choice sees it. */
interface Candidate {
  readonly variant: Variant;
  readonly pair: Pair;
  /** Its throughput against the base's at the load of the choice, else at the greatest that counts; null where none does. */
  readonly speed: SpeedRow | null;
  /** Its memory, or where that is not known its size on disk, as a share of the base's. */
  readonly memory: { readonly share: number; readonly what: string } | null;
  readonly quality: "kept" | "lost" | "undetermined" | "not measured";
  /** Null where no budget found it. */
  readonly evidence: BudgetEvidence | null;
}

/**
 * The variant to use, in plain words. Of those whose quality is not shown to be lost, the fastest at the greatest load
 * that tells it from the base, and of several that this run cannot tell apart the smallest; where none is faster beyond
 * the noise, the smallest that is not slower.
 */
export function recommend(evidence: Evidence, aim: Aim): Recommendation {
  const { variant, text } = choose(evidence, aim);
  return { variant, text: `${text}${evidence.variants.map(failingText).join("")}` };
}

function choose(evidence: Evidence, aim: Aim): Recommendation {
  const [base] = evidence.variants;
  const choiceLevel = choiceLevelOf(evidence);
  const served = evidence.pairs.flatMap((pair): Candidate[] => {
    const variant = evidence.variants.find(({ name }) => name === pair.variant)!;
    return isOurs(variant) && faultOf(variant) === null
      ? [candidateOf({ base: base!, variant, pair, choiceLevel }, aim)]
      : [];
  });
  if (served.length === 0)
    return { variant: null, text: `Nothing to choose from beside ${base!.name}: ${whyNone(evidence)}.` };
  if (!isOurs(base!)) {
    const text = `Nothing is recommended: ${base!.name}, which the others are compared with, is a server that somebody else started, with a model of its own. Put another --engine first for a recommendation.`;
    return { variant: null, text };
  }
  const kept = mostLikelyKept(served, aim);
  const faster = kept.filter(({ speed }) => speed?.verdict === "faster");
  const smaller = kept.filter(
    ({ speed, memory }) => speed?.verdict !== "slower" && memory !== null && memory.share < 1,
  );
  const best = bestOfFaster(faster) ?? smaller.toSorted((a, b) => a.memory!.share - b.memory!.share)[0];
  if (best === undefined) return stayOrNothing(evidence, served, aim);
  const bounds = boundsText(evidence, best.variant);
  return {
    variant: best.variant.name,
    text: `${describe(best)}; ${adviceOf(best, aim)}${bounds}${greatestLoadText(best)}${othersText(served, best, aim)}`,
  };
}

/** Whether it answered too few of the requests of any load to be of use. */
function failsRequests({ levels }: Variant): boolean {
  return levels.some(isFailing);
}

function failingText({ name, levels }: Variant): string {
  const [worst] = levels.toSorted((a, b) => errorShareOf(b) - errorShareOf(a));
  if (worst === undefined || !isFailing(worst)) return "";
  return ` ${name} failed ${worst.numErrors} of ${worst.numRequests} requests at ${levelName(worst)}: look at its log before anything else.`;
}

/** Why there is no variant to choose. One that failed or is not ours may have figures all the same. */
function whyNone({ variants }: Evidence): string {
  const [, ...others] = variants;
  if (others.length === 0) return "nothing else was asked for";
  return others
    .map(
      (variant) =>
        faultOf(variant) ?? `${variant.name} is a server that somebody else started, with a model of its own`,
    )
    .join("; ");
}

/** What speaks against the use of a variant, whatever its figures; null where nothing does. */
function faultOf(variant: Variant): string | null {
  const { name, failure, serving } = variant;
  if (failure !== null)
    return serving === null ? `${name} could not be measured` : `${name} failed in a later round`;
  return failsRequests(variant) ? `${name} did not answer its requests` : null;
}

/** Not so a server that somebody else started: it has a model of its own, no form of this one that could be used. */
function isOurs({ weights }: Variant): boolean {
  return weights !== null;
}

/** Of the fastest and those whose intervals reach its own: one that keeps the quality before others, then the smallest. */
function bestOfFaster(faster: readonly Candidate[]): Candidate | undefined {
  const [fastest] = faster.toSorted((a, b) => b.speed!.ratio - a.speed!.ratio);
  const rivals = faster.filter(
    (each) => each === fastest || (each.speed!.ratioHigh ?? 0) >= (fastest!.speed!.ratioLow ?? Infinity),
  );
  const doubtOf = ({ quality }: Candidate): number => (quality === "kept" ? 0 : 1);
  return rivals.toSorted(
    (a, b) => doubtOf(a) - doubtOf(b) || (a.memory?.share ?? 1) - (b.memory?.share ?? 1),
  )[0];
}

/** Up to what load a variant keeps the bounds that were asked for; empty where there are none. */
function boundsText({ variants, load }: Evidence, variant: Variant): string {
  if (load.slo.length === 0) return "";
  const bounds = load.slo.map(({ text }) => text).join(", ");
  const within = load.concurrency[variants.indexOf(variant)]!.withinSlo;
  if (within === null) return ` Whether it keeps ${bounds} could not be judged: too few requests ended.`;
  if (within.isLeastBroken) return ` But it breaks ${bounds} at the least load that was tried.`;
  if (within.inFlight === null)
    return ` But it breaks ${bounds} at ${inFlightText(within.brokenAt!)}; below that it could not be judged.`;
  return ` It keeps ${bounds} up to ${inFlightText(within.inFlight)}.`;
}

function inFlightText(load: number): string {
  return `${Number(load.toPrecision(3))} in flight`;
}

/**
 * Of those whose quality is not shown to be lost: all that seem to keep enough, or where none does, the one that seems to
 * keep most.
 */
function mostLikelyKept(served: readonly Candidate[], { minRecovery }: Aim): Candidate[] {
  const shareOf = ({ pair }: Candidate): number => recoveryOf(pair.accuracy)?.share ?? 1;
  const possible = served
    .filter(({ quality }) => quality !== "lost")
    .toSorted((a, b) => shareOf(b) - shareOf(a));
  const enough = possible.filter((each) => shareOf(each) >= minRecovery);
  return enough.length > 0 ? enough : possible.slice(0, 1);
}

function throughputOf({ speed }: Pair): SpeedRow[] {
  return speed.filter(({ metric }) => metric === "outputTokensPerSecond");
}

function countedOf(pair: Pair): SpeedRow[] {
  return throughputOf(pair).filter(({ verdict }) => !verdict.startsWith("does not count"));
}

/** One load for all, so that variants are not ranked at different ones: the greatest that tells any from the base. */
function choiceLevelOf({ pairs }: Evidence): string | null {
  const levels = pairs.flatMap((pair) =>
    throughputOf(pair).map(({ level, verdict }, index) => ({
      level,
      index,
      isTold: verdict === "faster" || verdict === "slower",
    })),
  );
  const told = levels.filter(({ isTold }) => isTold).toSorted((a, b) => a.index - b.index);
  return told.at(-1)?.level ?? null;
}

function candidateOf(
  {
    base,
    variant,
    pair,
    choiceLevel,
  }: Pick<Candidate, "variant" | "pair"> & { readonly base: Variant; readonly choiceLevel: string | null },
  { minRecovery, budgets }: Aim,
): Candidate {
  const counted = countedOf(pair);
  const evidence = budgets.get(variant.name) ?? null;
  return {
    variant,
    pair,
    speed: counted.find(({ level }) => level === choiceLevel) ?? counted.at(-1) ?? null,
    memory: memoryOf(base, variant),
    quality: qualityOf({ pair, evidence }, minRecovery),
    evidence,
  };
}

/** By the tasks; without any, by the limits that a budget set. */
function qualityOf(
  { pair, evidence }: Pick<Candidate, "pair" | "evidence">,
  minRecovery: number,
): Candidate["quality"] {
  const overall = recoveryOf(pair.accuracy);
  if (overall === null) return evidence?.isBounded === true ? "kept" : "not measured";
  if (overall.share < minRecovery && (overall.half === null || overall.share + overall.half < 1))
    return "lost";
  if (overall.half !== null && overall.share - overall.half >= minRecovery) return "kept";
  return "undetermined";
}

function memoryOf(base: Variant, variant: Variant): Candidate["memory"] {
  const shareOf = (what: string, own: number | null | undefined, its: number | null | undefined) =>
    own == null || its == null || its === 0 ? null : { share: own / its, what };
  return (
    shareOf(
      "memory of the weights",
      variant.serving?.memoryPlan?.weights,
      base.serving?.memoryPlan?.weights,
    ) ??
    shareOf("memory", variant.serving?.peakMemoryBytes, base.serving?.peakMemoryBytes) ??
    shareOf("size on disk", variant.sizeBytes, base.sizeBytes)
  );
}

/** `w8a8: 1.9× (1.85 to 1.96) the throughput at 25 in flight, 51 % of the memory, recovery 99.4 % ± 0.8`. */
function describe({ variant, pair, speed, memory, evidence }: Candidate): string {
  const parts = [
    speed === null
      ? null
      : `${speed.ratio.toFixed(1)}×${speedInterval(speed)} the throughput ${speed.level.endsWith("at once") ? "" : "at "}${speed.level}`,
    memory === null ? null : `${percent(memory.share, 0)} % of the ${memory.what}`,
    recoveryText(pair) ?? evidence?.text ?? "quality not measured",
  ];
  return `${variant.name}: ${parts.filter((part) => part !== null).join(", ")}`;
}

function speedInterval({ ratioLow, ratioHigh }: SpeedRow): string {
  return ratioLow === null || ratioHigh === null
    ? ""
    : ` (${ratioLow.toFixed(2)} to ${ratioHigh.toFixed(2)})`;
}

function recoveryText({ accuracy }: Pair): string | null {
  const overall = recoveryOf(accuracy);
  if (overall === null) return null;
  const half = overall.half === null ? "" : ` ± ${percent(overall.half, 1)}`;
  const without = overall.leftOut.length === 0 ? "" : ` without ${overall.leftOut.join(", ")}`;
  return `recovery ${percent(overall.share, 1)} %${half}${without}`;
}

/** What the greatest load shows, where the speed is that of a lesser one; else empty. */
function greatestLoadText({ pair, speed }: Candidate): string {
  const greatest = countedOf(pair).at(-1);
  if (speed === null || greatest === undefined || greatest.level === speed.level) return "";
  return ` At the greatest load that counts, ${greatest.level}, it is ${greatest.ratio.toFixed(2)}×${speedInterval(greatest)}: ${greatest.verdict}.`;
}

function adviceOf({ quality, pair, speed, evidence }: Candidate, { minRecovery }: Aim): string {
  // A loss that is shown and smaller than what was allowed needs no word.
  const worse = headlineRows(pair.accuracy).filter(
    (row) => accuracyVerdict(row) === "worse" && (row.recovery ?? 0) < minRecovery,
  );
  const isFaster = speed?.verdict === "faster";
  if (quality === "not measured") {
    const what = evidence === null ? "its quality" : "its quality on tasks";
    return isFaster
      ? `use it once ${what} is measured.`
      : `it is not shown to be faster; where memory counts, measure ${what}, then use it.`;
  }
  const gain = isFaster ? "use it" : "use it where memory counts; it is not shown to be faster";
  if (worse.length > 0)
    return `${gain}, if you can bear the loss in ${worse.map(({ task }) => task).join(", ")}.`;
  if (quality === "undetermined")
    return `${gain}; what it costs in quality is inside the noise of so few documents.`;
  return `${gain}.`;
}

function othersText(served: readonly Candidate[], best: Candidate, aim: Aim): string {
  const others = served.filter((each) => each !== best);
  return others.map((each) => ` ${describe(each)}; ${whyNot(each, best, aim)}.`).join("");
}

/** What speaks against a variant that was not chosen, or for which use it is the better one. */
function whyNot({ quality, pair, speed, memory }: Candidate, best: Candidate, { minRecovery }: Aim): string {
  if (quality === "lost") return "too much lost";
  if (speed?.verdict === "slower") return "slower";
  if ((recoveryOf(pair.accuracy)?.share ?? 1) < minRecovery)
    return "it seems to lose too much, which so few documents cannot prove";
  if (memory !== null && best.memory !== null && memory.share < best.memory.share)
    return "the one to take where memory counts more than speed";
  return `it shows no gain over ${best.variant.name}`;
}

/** The base, where no other is better; a base that cannot be used is none to stay with. */
function stayOrNothing(
  evidence: Evidence,
  served: readonly Candidate[],
  { minRecovery }: Aim,
): Recommendation {
  const base = evidence.variants[0]!;
  const fault = faultOf(base);
  const isLost = served.every(({ quality }) => quality === "lost");
  const why = isLost
    ? `no other keeps ${percent(minRecovery, 0)} % of the quality`
    : "no other that keeps the quality is shown to be faster, or smaller without being slower";
  const others = served.map((each) => ` ${describe(each)}.`).join("");
  return fault === null
    ? {
        variant: base.name,
        text: `${base.name}: stay with it, ${why}.${others}${boundsText(evidence, base)}`,
      }
    : { variant: null, text: `Nothing is recommended: ${fault}, and ${why}.${others}` };
}

function percent(share: number, digits: number): string {
  return (100 * share).toFixed(digits);
}
