import type { RequestRecord } from "../../records/bench.ts";
import type { LoadFigures } from "../../records/load-figures.ts";
import { chunkTokensOf } from "../slices.ts";

/** The number in flight after each change of it, in order of time. */
export interface InFlight {
  readonly atMs: readonly number[];
  readonly count: readonly number[];
}

/** How many requests were in flight, from a stage's records. */
export function inFlightOf(records: readonly RequestRecord[]): InFlight {
  const changes = records.flatMap(({ sentMs, endMs }) => [
    { atMs: sentMs, by: 1 },
    { atMs: endMs, by: -1 },
  ]);
  // At one instant the end comes before the start that follows from it.
  changes.sort((a, b) => a.atMs - b.atMs || a.by - b.by);
  let now = 0;
  return { atMs: changes.map(({ atMs }) => atMs), count: changes.map(({ by }) => (now += by)) };
}

/** A second each, or as long as makes 600 of them. */
const spanMs = 1000;
const maxSpans = 600;

export function concurrencyOf(
  records: readonly RequestRecord[],
  durationMs: number,
): LoadFigures["inFlight"] {
  const changes = inFlightOf(records);
  const levels = [...timeAtLevels(changes, durationMs)].sort(([a], [b]) => a - b);
  const shareOf = (share: number): number => {
    let passed = 0;
    for (const [level, ms] of levels) {
      passed += ms;
      if (passed >= share * durationMs) return level;
    }
    return levels.at(-1)?.[0] ?? 0;
  };
  return {
    mean: levels.reduce((sum, [level, ms]) => sum + level * ms, 0) / durationMs,
    p50: shareOf(0.5),
    p90: shareOf(0.9),
    max: Math.max(0, ...levels.map(([level]) => level)),
    ...timelineOf(records, changes, durationMs),
  };
}

/** Milliseconds of the stage at each number in flight. */
function timeAtLevels({ atMs, count }: InFlight, durationMs: number): Map<number, number> {
  const times = new Map<number, number>();
  let [lastMs, level] = [0, 0];
  for (let i = 0; i <= atMs.length; i += 1) {
    const until = atMs[i] ?? durationMs;
    if (until > lastMs) times.set(level, (times.get(level) ?? 0) + until - lastMs);
    [lastMs, level] = [Math.max(lastMs, until), count[i] ?? 0];
  }
  return times;
}

function timelineOf(
  records: readonly RequestRecord[],
  { atMs, count }: InFlight,
  durationMs: number,
): Pick<LoadFigures["inFlight"], "timeline" | "spanMs"> {
  const span = Math.max(spanMs, durationMs / maxSpans);
  const numSpans = Math.max(1, Math.ceil(durationMs / span));
  const [busy, tokens, ends] = [0, 1, 2].map(() => new Float64Array(numSpans)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  const spanOf = (ms: number): number => Math.min(numSpans - 1, Math.max(0, Math.floor(ms / span)));
  for (let i = 0; i < atMs.length - 1; i += 1) {
    const [start, end] = [atMs[i]!, atMs[i + 1]!];
    // Span by span: the time at which a span begins may round to the one before it.
    for (let index = spanOf(start); index <= spanOf(end); index += 1) {
      const from = Math.max(start, index * span);
      const until = index === numSpans - 1 ? end : Math.min(end, (index + 1) * span);
      busy[index]! += count[i]! * Math.max(0, until - from);
    }
  }
  for (const record of records) {
    if (record.error === null) ends[spanOf(record.endMs)]! += 1;
    for (const [chunk, numTokens] of chunkTokensOf(record).entries())
      tokens[spanOf(record.chunkMs[chunk]!)]! += numTokens;
  }
  const lengthOf = (index: number): number => Math.min(span, durationMs - index * span);
  return {
    spanMs: span,
    timeline: Array.from(busy, (busyMs, index) => ({
      atMs: index * span,
      inFlight: busyMs / lengthOf(index),
      outputTokensPerSecond: (1000 * tokens[index]!) / lengthOf(index),
      requestsPerSecond: (1000 * ends[index]!) / lengthOf(index),
    })),
  };
}
