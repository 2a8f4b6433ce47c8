import { z } from "zod";
import { MillraceError } from "../base/errors.ts";
import { errorShareOf, type Latency, type LoadLevel } from "./load-level.ts";

/** A bound on one figure of a load. */
export const sloTermSchema = z.object({
  /** As the user wrote it. */
  text: z.string(),
  metric: z.enum(["ttft", "tpot", "itl", "e2e"]),
  statistic: z.enum(["mean", "p50", "p90", "p95", "p99"]),
  maxMs: z.number(),
});
export type SloTerm = z.infer<typeof sloTermSchema>;

const form = /^(ttft|tpot|itl|e2e)_(mean|p50|p90|p95|p99)\s*<=\s*(\d+(?:\.\d+)?)\s*(ms|s)$/;

/** Reads `ttft_p90<=500ms,itl_p95<=50ms,e2e_p99<=10s`. Throws `invalid_option`. */
export function parseSlo(text: string): SloTerm[] {
  return text.split(",").map((part) => {
    const match = form.exec(part.trim().toLowerCase());
    if (match === null) {
      throw new MillraceError(
        "invalid_option",
        `--slo has ${JSON.stringify(part.trim())}; it takes bounds such as ttft_p90<=500ms, of ttft, tpot, itl or e2e by mean, p50, p90, p95 or p99, in ms or s, separated by commas.`,
        { param: "--slo" },
      );
    }
    const [, metric, statistic, figure, unit] = match;
    return sloTermSchema.parse({
      text: part.trim(),
      metric,
      statistic,
      maxMs: Number(figure) * (unit === "s" ? 1000 : 1),
    });
  });
}

/** No bound holds where more requests fail than this share, and no figure counts. */
export const maxErrorShare = 0.01;
/** What that bound is called among the others. */
export const errorBound: string = `errors<=${100 * maxErrorShare}%`;

/** Whether too many requests of a load failed for any of its figures to count. */
export function isFailing(level: LoadLevel): boolean {
  return errorShareOf(level) > maxErrorShare;
}

/** Shares of the samples below each percentile, from the least on. */
const percentileShares = [
  ["p50", 0.5],
  ["p90", 0.9],
  ["p95", 0.95],
  ["p99", 0.99],
] as const;

/** Requests of a load: all of them, those that failed, and those that were in flight when its end cut them off. */
interface RequestCounts {
  readonly numRequests: number;
  readonly numErrors: number;
  readonly numCensored: number;
}

/**
 * The percentile of the answers that ended which bounds a statistic of all, as if every answer that was cut off had taken
 * longer than any other: the statistic itself where none was cut off, null where nothing that is known bounds it.
 */
export function boundingStatistic(
  statistic: SloTerm["statistic"],
  { numRequests, numErrors, numCensored }: RequestCounts,
): SloTerm["statistic"] | null {
  if (numCensored === 0) return statistic;
  const share = percentileShares.find(([name]) => name === statistic)?.[1];
  if (share === undefined) return null;
  const numAnswers = numRequests - numErrors;
  const needed = (share * numAnswers) / (numAnswers - numCensored);
  return percentileShares.find(([, own]) => own >= needed)?.[0] ?? null;
}

/** How a load stands to one bound: with the figure it was judged by, null where it was not measured. */
export interface SloFinding {
  readonly term: SloTerm;
  readonly valueMs: number | null;
  /** Null where it was not measured, and where the requests that were cut off may have broken it. */
  readonly isMet: boolean | null;
  /** Whether the percentile had too few samples to be bounded: then it neither keeps nor breaks anything. */
  readonly isWeak: boolean;
}

export function judgeLevel(level: LoadLevel, terms: readonly SloTerm[]): SloFinding[] {
  return terms.map((term) => {
    const latency: Latency | null = level[`${term.metric}Ms`];
    const valueMs = latency?.[term.statistic] ?? null;
    return {
      term,
      valueMs,
      isMet: isMetBy(level, latency, term),
      isWeak: isWeak(latency, term.statistic),
    };
  });
}

function isMetBy(
  { numRequests, numErrors, numCensored }: LoadLevel,
  latency: Latency | null,
  { statistic, maxMs }: SloTerm,
): boolean | null {
  const valueMs = latency?.[statistic] ?? null;
  if (valueMs === null || valueMs > maxMs) return valueMs === null ? null : false;
  const bounding = boundingStatistic(statistic, {
    numRequests: numRequests ?? 0,
    numErrors: numErrors ?? 0,
    numCensored: numCensored ?? 0,
  });
  if (bounding === statistic) return true;
  const boundMs = bounding === null || isWeak(latency, bounding) ? null : (latency?.[bounding] ?? null);
  return boundMs !== null && boundMs <= maxMs ? true : null;
}

function isWeak(latency: Latency | null, statistic: SloTerm["statistic"]): boolean {
  return latency?.weak.some((name) => name === statistic) ?? false;
}
