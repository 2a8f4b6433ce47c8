import type { Progress } from "../../base/progress.ts";
import type { BenchStage, RateStage } from "../../records/bench.ts";
import { type EarlyEnd, startOrigin } from "../../records/origin.ts";
import type { VersusRecord, VersusRow } from "../../records/versus.ts";
import type { BenchOptions } from "../bench-options.ts";
import { BenchSession } from "../bench-session.ts";
import { minRounds } from "../bootstrap-interval.ts";
import { earlyEndOf } from "../early-end.ts";
import type { Load } from "../loads.ts";
import { refuseLostServer } from "../lost-server.ts";
import { countText, errorsText, loadName } from "../stage-text.ts";
import { promptsForBoth } from "../workload/choose-prompts.ts";
import { compareRounds, legFigures, type Round, type VerdictLimits } from "./compare-rounds.ts";

export interface VersusOptions extends VerdictLimits {
  readonly a: BenchOptions;
  readonly b: BenchOptions;
  readonly load: Load;
  /** Rounds before the tool says how many it needs; at least four. */
  readonly firstRounds: number;
  /** It goes on to as many as it needs, but not beyond. */
  readonly maxRounds: number;
  readonly progress: Progress;
  readonly signal?: AbortSignal | undefined;
  /** Receives the record of the rounds that were whole where a fault or the signal ends it early; not where none was. */
  readonly onEarlyEnd?: ((record: VersusRecord) => void) | undefined;
}

type Leg = VersusRecord["legs"][number];

/** Conversations between the first prompts of two pairs of legs: more than a leg sends. */
const promptsOfPair = 1_000_000;
/** The sides of a round's four legs, by turns, so that neither is always first. */
const orders = [
  ["a", "b", "b", "a"],
  ["b", "a", "a", "b"],
] as const;

/**
 * Loads two servers by turns, A B B A and B A A B, with the same prompts, but for what a salt of either changes, and the same
 * arrival times, and says which is better. After the first rounds it knows how noisy they are, and goes on to as many as a verdict needs.
 *
 * Errors: those of opening a session; `endpoint_failed` when a server is gone after a leg; the signal's reason.
 */
export async function runVersus(options: VersusOptions): Promise<VersusRecord> {
  const finishOrigin = startOrigin(null);
  const sessions = await openBoth(options);
  const legs: Leg[] = [];
  const recordNow = (endedEarly: EarlyEnd | null): VersusRecord => ({
    kind: "versus",
    origin: finishOrigin(),
    ...describeVersus(options, sessions),
    ...compareLegs(legs, options),
    endedEarly,
  });
  try {
    await runRounds(options, sessions, legs);
    return recordNow(null);
  } catch (error) {
    if (legs.length >= orders[0].length) options.onEarlyEnd?.(recordNow(earlyEndOf(options.signal)));
    throw error;
  } finally {
    await sessions.a.close();
    await sessions.b.close();
  }
}

type Sessions = Readonly<Record<"a" | "b", BenchSession>>;

/** Adds to `legs` whatever ends, so that a fault loses nothing. */
async function runRounds(options: VersusOptions, sessions: Sessions, legs: Leg[]): Promise<void> {
  const { load, progress, signal } = options;
  let numRounds = Math.max(minRounds, options.firstRounds);
  for (let round = 0; round < numRounds; round += 1) {
    progress.start(`round ${round + 1} of ${numRounds}, ${loadName(load)}`, 4);
    for (const [place, side] of orders[round % 2]!.entries()) {
      const firstIndex = (1 + 2 * round + Math.floor(place / 2)) * promptsOfPair;
      const { stage } = await sessions[side].run(load, { firstIndex });
      signal?.throwIfAborted();
      await refuseLostServer(stage, options[side]);
      legs.push({ round, side, stage });
      progress.update(place + 1);
    }
    if (round + 1 === numRounds) {
      const { rows } = compareLegs(legs, options);
      numRounds = Math.min(options.maxRounds, Math.max(numRounds, roundsFor(rows)));
    }
    progress.finish(`round ${round + 1} done`);
  }
}

function describeVersus(
  options: VersusOptions,
  sessions: Sessions,
): Pick<VersusRecord, "a" | "b" | "load" | "workload" | "margin" | "effect"> {
  const side = (which: "a" | "b"): VersusRecord["a"] => ({
    url: options[which].endpoint.url,
    model: sessions[which].target.model,
  });
  const { load, margin, effect } = options;
  const workload = sessions.a.describeWorkload();
  return { a: side("a"), b: side("b"), load: loadName(load), workload, margin, effect };
}

function compareLegs(
  legs: readonly Leg[],
  limits: VerdictLimits,
): Pick<VersusRecord, "legs" | "rows" | "faults"> {
  return { legs: [...legs], rows: compareRounds(soundRounds(legs), limits), faults: legs.flatMap(faultsOf) };
}

/** Sessions of both sides, or of none. What prompts are made of is chosen once, so that both are asked alike. */
async function openBoth({ a, b }: VersusOptions): Promise<Sessions> {
  const first = await BenchSession.open({ ...a, prompts: await promptsForBoth(a, b) });
  try {
    return { a: first, b: await BenchSession.open({ ...b, prompts: first.prompts }) };
  } catch (error) {
    await first.close();
    throw error;
  }
}

/** What the metric that decides a stream's pace asks for; the throughput's where answers have one token. */
function roundsFor(rows: readonly VersusRow[]): number {
  const row = rows.find(({ metric }) => metric === "tpotMs") ?? rows[0];
  return row?.roundsNeeded ?? 0;
}

/** Rounds of which every leg counts. */
function soundRounds(legs: readonly Leg[]): Round[] {
  const numRounds = 1 + Math.max(-1, ...legs.map(({ round }) => round));
  return Array.from({ length: numRounds }, (_, round) => legs.filter((leg) => leg.round === round)).flatMap(
    (own) => {
      const of = (side: "a" | "b"): Round["a"] => {
        const [first, second] = own.filter((leg) => leg.side === side);
        return [legFigures(first!.stage), legFigures(second!.stage)];
      };
      return own.length === 4 && own.every((leg) => faultsOf(leg).length === 0)
        ? [{ a: of("a"), b: of("b") }]
        : [];
    },
  );
}

function faultsOf({ round, side, stage }: Leg): string[] {
  const name = `round ${round + 1}, ${side.toUpperCase()}`;
  return reasonsOf(stage).map((reason) => `${name}: ${reason}`);
}

function reasonsOf(stage: BenchStage | RateStage): string[] {
  const errors = stage.numErrors === 0 ? [] : [`${stage.numErrors} requests failed (${errorsText(stage)})`];
  // Which are cut off is no chance: the slowest are, and the means of the others would hide it.
  const cutOff =
    stage.numCensored === 0 ? [] : [`${countText(stage.numCensored, "request")} cut off by --max-seconds`];
  return [...errors, ...cutOff, ...stage.client.faults];
}
