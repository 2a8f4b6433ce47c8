import { z } from "zod";
import { sliceSchema } from "./load-figures.ts";

/** A distribution of milliseconds as a load test of any tool tells it; null for what that tool does not say. */
export const latencySchema = z.object({
  count: z.number().int().nullable(),
  mean: z.number().nullable(),
  p50: z.number(),
  p90: z.number().nullable(),
  p95: z.number().nullable(),
  p99: z.number().nullable(),
  /** Percentiles with too few samples for a one-sided 95 % bound. */
  weak: z.array(z.enum(["p90", "p95", "p99"])),
});
export type Latency = z.infer<typeof latencySchema>;

/** Requests in flight and tokens per second over a stretch of a level. */
const momentSchema = z.object({ atMs: z.number(), inFlight: z.number(), outputTokensPerSecond: z.number() });

/** A load that stayed the same for a while, measured by any tool, over all rounds in which it was measured. */
export const loadLevelSchema = z.object({
  /** `closed`: N users who wait for their answers; `open`: requests at a rate; `at-once`: all of them together. */
  kind: z.enum(["closed", "open", "at-once"]),
  /**
   * Users of a closed loop, requests per second of an open one, requests sent at once where a run has several such levels;
   * else null.
   */
  asked: z.number().nullable(),
  /** Requests in flight: the median over time where the tool tells it, else the mean. */
  inFlight: z.number(),
  requestsPerSecond: z.number(),
  outputTokensPerSecond: z.number(),
  totalTokensPerSecond: z.number().nullable(),
  /** Medians over time of rates, as GuideLLM prints them beside the means; null for other tools. */
  medians: z.object({ requestsPerSecond: z.number(), outputTokensPerSecond: z.number() }).nullable(),
  ttftMs: latencySchema.nullable(),
  /** Mean time between the tokens of a request: vLLM's TPOT, GuideLLM's ITL. */
  tpotMs: latencySchema.nullable(),
  /** Gaps between arrivals, pooled over requests: vLLM's ITL. */
  itlMs: latencySchema.nullable(),
  e2eMs: latencySchema.nullable(),
  numRequests: z.number().int().nullable(),
  numErrors: z.number().int().nullable(),
  /**
   * In flight when the end of the load cut them off: neither good nor errors, and in no latency; null where the tool does not
   * say.
   */
  numCensored: z.number().int().nullable(),
  firstError: z.string().nullable(),
  /** Errors by what they were; empty where the tool does not say. */
  errorsByKind: z.record(z.string(), z.number().int()),
  /** Why the figures do not count: the client was late or busy. */
  faults: z.array(z.string()),
  /** Of each round, consecutive completions as samples of the speed; the spread between them says how sure the figures are. */
  slices: z.array(z.array(sliceSchema)),
  /** Half the 95 % interval of each figure, from the slices, as a share of it; null where these are fewer than two. */
  spread: z.object({
    outputTokensPerSecond: z.number().nullable(),
    ttftMs: z.number().nullable(),
    tpotMs: z.number().nullable(),
    e2eMs: z.number().nullable(),
  }),
  /** Throughput and mean latencies of each round. */
  rounds: z.array(
    z.object({
      outputTokensPerSecond: z.number(),
      ttftMs: z.number().nullable(),
      tpotMs: z.number().nullable(),
      e2eMs: z.number().nullable(),
    }),
  ),
  /** Quantiles in steps of 2 %, from the smallest sample to the largest; null without the single requests. */
  quantiles: z
    .object({ ttftMs: z.array(z.number()), tpotMs: z.array(z.number()), e2eMs: z.array(z.number()) })
    .nullable(),
  /** Of the first round; null without the single requests. */
  timeline: z.array(momentSchema).nullable(),
});
export type LoadLevel = z.infer<typeof loadLevelSchema>;

/** What a level's name is made of. */
type NamedLevel = Pick<LoadLevel, "kind" | "asked" | "requestsPerSecond" | "medians">;

/** `25 in flight`, `1.3 requests/s`, `all at once`. */
export function levelName(level: NamedLevel): string {
  if (level.kind === "closed") return `${level.asked} in flight`;
  if (level.kind === "open") return `${Number(rateOf(level).toPrecision(3))} requests/s`;
  return level.asked === null ? "all at once" : `${level.asked} at once`;
}

/** Requests in flight as a place on an axis: what was asked for in a closed loop, else what was seen. */
export function loadOf({ kind, asked, inFlight }: Pick<LoadLevel, "kind" | "asked" | "inFlight">): number {
  return kind === "closed" && asked !== null ? asked : inFlight;
}

/** Requests per second as a place on an axis: what was asked for in an open loop, else what was reached. */
export function rateOf({ kind, asked, requestsPerSecond, medians }: NamedLevel): number {
  if (kind === "open") return asked ?? medians?.requestsPerSecond ?? requestsPerSecond;
  return requestsPerSecond;
}

/** Failed requests as a share of all; 0 where the tool does not count them. */
export function errorShareOf({
  numRequests,
  numErrors,
}: Pick<LoadLevel, "numRequests" | "numErrors">): number {
  return numRequests === null || numRequests === 0 ? 0 : (numErrors ?? 0) / numRequests;
}

const kindOrder = ["closed", "open", "at-once"] as const;

/** The order of tables: users, then rates, then all at once, each from little load to much. */
export function inOrderOfLoad(levels: readonly LoadLevel[]): LoadLevel[] {
  const placeOf = (level: LoadLevel): number => (level.kind === "closed" ? loadOf(level) : rateOf(level));
  return levels.toSorted(
    (a, b) => kindOrder.indexOf(a.kind) - kindOrder.indexOf(b.kind) || placeOf(a) - placeOf(b),
  );
}
