import { percentile, summarise } from "../../bench/distribution.ts";
import { e2eFromDueOf, tpotOf, ttftFromDueOf } from "../../bench/slices.ts";
import { heldBackText, stageName } from "../../bench/stage-text.ts";
import type { BenchRecord, BenchStage, RateStage, RequestRecord } from "../../records/bench.ts";
import { type Latency, type LoadLevel, levelName } from "../../records/load-level.ts";
import { joinLatencies } from "./join-levels.ts";
import { spreadOf } from "./level-spread.ts";
import { type LoadRun, requestsAtOnce } from "./load-run.ts";
import { readRequests } from "./read-requests.ts";

/** One load test of ours, and the folder with the records of its requests; null where they are not kept. */
export interface BenchRound {
  readonly record: BenchRecord;
  readonly folder: string | null;
}

type Stage = BenchStage | RateStage;

/** One stage in one round, with its good requests where they are kept. */
interface Part {
  readonly stage: Stage;
  readonly requests: readonly RequestRecord[] | null;
}

/**
 * Rounds of the same load as one run: counts add up, distributions are those of all requests together. Times run from when
 * requests were due, where they were: from the send, a server that cannot keep up seems no slower behind a limit of requests.
 */
export function readBench(name: string, rounds: readonly BenchRound[]): LoadRun {
  const { record } = rounds[0]!;
  const { origin, workload } = record;
  const settings = Object.entries({
    ...workload,
    ...loadSettings(record.rates),
    url: record.url,
    model: record.model,
    kernels: origin.kernels,
    processor: origin.processor,
  });
  const levels = [...levelsOf(rounds, "stages"), ...levelsOf(rounds, "rates")];
  return {
    name,
    tool: `Millrace ${origin.version}, build ${origin.build}`,
    levels,
    // A setting that the run did not have is left out: "null" would be a value of it.
    settings: Object.fromEntries(
      settings.flatMap(([key, value]) => (value === null ? [] : [[key, String(value)]])),
    ),
    origin,
    notes: [...heldBackNotes(name, rounds), ...cutOffNotes(name, levels)],
  };
}

/** Open loops that their limit has made closed ones. */
function heldBackNotes(name: string, rounds: readonly BenchRound[]): string[] {
  const held = rounds.flatMap(({ record }) => record.rates.filter(({ becameClosed }) => becameClosed));
  return [...new Set(held.map((stage) => `${name}, ${stageName(stage)}: ${heldBackText(stage)}.`))];
}

/** What no figure shows: answers that a load's end cut off may have been the slowest. */
function cutOffNotes(name: string, levels: readonly LoadLevel[]): string[] {
  const shareOf = ({ numCensored, numRequests }: LoadLevel): number =>
    numCensored! / Math.max(1, numRequests!);
  const [worst] = levels.toSorted((a, b) => shareOf(b) - shareOf(a));
  return worst === undefined || shareOf(worst) === 0
    ? []
    : [
        `${name}: requests that were in flight when a load was cut off are in none of its latencies, at most ${worst.numCensored} of ${worst.numRequests} (${levelName(worst)}).`,
      ];
}

/** How requests came, where they did not wait for each other: levels of one rate may differ in it. */
function loadSettings(rates: readonly RateStage[]): Record<string, string> {
  const atOnce = rates.filter((stage) => kindOf(stage).kind === "at-once");
  const due = rates.filter((stage) => !atOnce.includes(stage));
  const entries = [
    ["arrivals", due.map(({ arrivals }) => arrivals)],
    ["maxConcurrency", rates.map(({ maxConcurrency }) => maxConcurrency ?? "no limit")],
    [requestsAtOnce, atOnce.map(({ numRequests }) => numRequests)],
  ] as const;
  const told = entries.filter(([, values]) => values.length > 0);
  return Object.fromEntries(told.map(([name, values]) => [name, [...new Set<unknown>(values)].join(", ")]));
}

/** The stages that every round has, by their place: rates of a sweep follow from what their own round reached. */
function levelsOf(rounds: readonly BenchRound[], kind: "stages" | "rates"): LoadLevel[] {
  const firsts: readonly Stage[] = rounds[0]!.record[kind];
  // One alone is what another run had at once, however many that were.
  const areCounted = firsts.filter((stage) => kindOf(stage).kind === "at-once").length > 1;
  return firsts.flatMap((first, index) => {
    const parts = rounds.flatMap(({ record, folder }): Part[] => {
      const stage = record[kind][index];
      if (stage === undefined) return [];
      const requests = folder === null ? null : readRequests(folder, record, stage);
      return [{ stage, requests: requests?.filter(({ error }) => error === null) ?? null }];
    });
    if (parts.length < rounds.length) return [];
    const level = levelOf(parts);
    return [level.kind === "at-once" && areCounted ? { ...level, asked: first.numRequests } : level];
  });
}

function levelOf(parts: readonly Part[]): LoadLevel {
  const stages = parts.map(({ stage }) => stage);
  const sum = (of: (stage: Stage) => number): number => stages.reduce((total, stage) => total + of(stage), 0);
  const seconds = sum(({ durationMs }) => durationMs) / 1000;
  const perSecond = (of: (stage: Stage) => number): number =>
    sum((stage) => (of(stage) * stage.durationMs) / 1000) / seconds;
  const samples = samplesOf(parts);
  const ofStages = stages.map(latenciesOf);
  const latency = (name: "ttftMs" | "tpotMs" | "e2eMs"): Latency | null =>
    samples === null ? joinLatencies(ofStages.map((own) => own[name])) : summarise(samples[name]);
  const asked = askedOf(stages);
  const slices = stages.map((stage) => stage.slices);
  return {
    ...asked,
    inFlight: perSecond(({ meanInFlight }) => meanInFlight),
    requestsPerSecond: perSecond(({ requestsPerSecond }) => requestsPerSecond),
    outputTokensPerSecond: perSecond(({ outputTokensPerSecond }) => outputTokensPerSecond),
    totalTokensPerSecond: perSecond(({ totalTokensPerSecond }) => totalTokensPerSecond),
    medians: null,
    ttftMs: latency("ttftMs"),
    tpotMs: latency("tpotMs"),
    itlMs: joinLatencies(stages.map(({ itlMs }) => itlMs)),
    e2eMs: latency("e2eMs"),
    numRequests: sum(({ numRequests }) => numRequests),
    numErrors: sum(({ numErrors }) => numErrors),
    numCensored: sum(({ numCensored }) => numCensored),
    firstError: stages.find(({ firstError }) => firstError !== null)?.firstError ?? null,
    errorsByKind: sumByKind(stages),
    faults: [...new Set(stages.flatMap(({ client }) => client.faults))],
    slices,
    spread: spreadOf({ kind: asked.kind, slices }),
    rounds: ofStages.map(({ ttftMs, tpotMs, e2eMs }, round) => ({
      outputTokensPerSecond: stages[round]!.outputTokensPerSecond,
      ttftMs: ttftMs?.mean ?? null,
      tpotMs: tpotMs?.mean ?? null,
      e2eMs: e2eMs?.mean ?? null,
    })),
    quantiles: samples === null ? null : mapValues(samples, quantilesOf),
    timeline: stages[0]!.inFlight.timeline,
  };
}

/** A stage's own distributions, by the same clock as its requests' samples. */
function latenciesOf(stage: Stage): Pick<Stage, "ttftMs" | "tpotMs" | "e2eMs"> {
  const { tpotMs } = stage;
  return "requestRate" in stage
    ? { ttftMs: stage.ttftFromDueMs, tpotMs, e2eMs: stage.e2eFromDueMs }
    : { ttftMs: stage.ttftMs, tpotMs, e2eMs: stage.e2eMs };
}

/** Of stages of several rounds; the rates of a sweep are averaged. */
function askedOf(stages: readonly Stage[]): ReturnType<typeof kindOf> {
  const { kind } = kindOf(stages[0]!);
  const asked = stages.map((stage) => kindOf(stage).asked);
  if (asked.every((each) => each === asked[0])) return { kind, asked: asked[0]! };
  return { kind, asked: asked.reduce<number>((sum, each) => sum + (each ?? 0), 0) / asked.length };
}

/** What kind of load a stage was, and how much of it was asked for. */
export function kindOf(stage: Stage): Pick<LoadLevel, "kind" | "asked"> {
  if ("concurrency" in stage) return { kind: "closed", asked: stage.concurrency };
  return stage.requestRate === "inf"
    ? { kind: "at-once", asked: null }
    : { kind: "open", asked: stage.requestRate };
}

function sumByKind(stages: readonly Stage[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const [kind, count] of stages.flatMap(({ errorsByKind }) => Object.entries(errorsByKind)))
    counts[kind] = (counts[kind] ?? 0) + count;
  return counts;
}

type Samples = Readonly<Record<"ttftMs" | "tpotMs" | "e2eMs", readonly number[]>>;

/** Samples of all rounds; null where a round's requests are not kept, or none was good. */
function samplesOf(parts: readonly Part[]): Samples | null {
  const requests = parts.flatMap((part) => part.requests ?? []);
  if (requests.length === 0 || parts.some((part) => part.requests === null)) return null;
  return {
    ttftMs: requests.map(ttftFromDueOf),
    tpotMs: requests.map(tpotOf).filter((value) => value !== null),
    e2eMs: requests.map(e2eFromDueOf),
  };
}

const quantileSteps = 50;

function quantilesOf(samples: readonly number[]): number[] {
  if (samples.length === 0) return [];
  const sorted = Float64Array.from(samples).sort();
  return Array.from({ length: quantileSteps + 1 }, (_, step) => percentile(sorted, step / quantileSteps));
}

function mapValues<K extends string, A, B>(
  values: Readonly<Record<K, A>>,
  change: (value: A) => B,
): Record<K, B> {
  return Object.fromEntries(Object.entries<A>(values).map(([key, value]) => [key, change(value)])) as Record<
    K,
    B
  >;
}
