import type { RequestRecord } from "../records/bench.ts";
import type { StageSlice } from "../records/load-figures.ts";

/** More slices than this add nothing to the interval, and shorter ones depend more on each other. */
const maxSlices = 20;

/** The server's count; where it sends none, one token per event. */
export function tokensOf(record: RequestRecord): number {
  return record.outputTokens ?? record.chunkMs.length;
}

/** Tokens of each event: as the server counts them in every one, else its count in equal parts. */
export function chunkTokensOf(record: RequestRecord): readonly number[] {
  if (record.chunkTokens !== null) return record.chunkTokens;
  const each = record.chunkMs.length === 0 ? 0 : tokensOf(record) / record.chunkMs.length;
  return record.chunkMs.map(() => each);
}

/** First token − sent. For records without error. */
export function ttftOf(record: RequestRecord): number {
  return record.firstTokenMs! - record.sentMs;
}

/** (last token − first token) / (output tokens − 1); null for a single token. */
export function tpotOf(record: RequestRecord): number | null {
  const tokens = tokensOf(record);
  return tokens > 1 ? (record.lastTokenMs! - record.firstTokenMs!) / (tokens - 1) : null;
}

/** Stream end − sent. */
export function e2eOf(record: RequestRecord): number {
  return record.endMs - record.sentMs;
}

/** First token − due, or − sent where nothing was due. For records without error. */
export function ttftFromDueOf(record: RequestRecord): number {
  return record.firstTokenMs! - waitStartMs(record);
}

/** Stream end − due, or − sent where nothing was due. */
export function e2eFromDueOf(record: RequestRecord): number {
  return record.endMs - waitStartMs(record);
}

/**
 * Cuts a closed-loop stage into runs of consecutive completions, each of whole rounds of its N users, at most 20.
 * Requests that were in one batch rise and fall together, so single requests are no independent samples; the means of
 * such batches nearly are ("batch means": Law, Simulation Modeling and Analysis, chapter 9; Schmeiser 1982 finds that
 * more than 10 to 30 batches gain little). What is left over after the last whole round joins the last slice.
 */
export function sliceStage(concurrency: number, good: readonly RequestRecord[]): StageSlice[] {
  const byEnd = good.toSorted((a, b) => a.endMs - b.endMs);
  const rounds = Math.floor(byEnd.length / concurrency);
  if (rounds === 0) return [];
  const size = Math.ceil(rounds / maxSlices) * concurrency;
  const count = Math.floor(byEnd.length / size);
  let startMs = byEnd.reduce((first, { sentMs }) => Math.min(first, sentMs), Number.POSITIVE_INFINITY);
  return Array.from({ length: count }, (_, index) => index).flatMap((index) => {
    const isLast = index === count - 1;
    const records = byEnd.slice(index * size, isLast ? undefined : (index + 1) * size);
    const endMs = records.at(-1)!.endMs;
    // Batches that ended in the same instant have no time between them, and no speed.
    if (endMs <= startMs) return [];
    const tokens = records.reduce((sum, record) => sum + tokensOf(record), 0);
    const slice: StageSlice = {
      numRequests: records.length,
      outputTokensPerSecond: tokens / ((endMs - startMs) / 1000),
      ttftMs: meanOf(records.map(ttftFromDueOf)),
      tpotMs: meanOf(records.map(tpotOf).filter((value) => value !== null)),
      e2eMs: meanOf(records.map(e2eFromDueOf)),
    };
    startMs = endMs;
    return [slice];
  });
}

/** From when somebody waited for it: when it was due, else, where the answer before it decides, when it was sent. */
function waitStartMs(record: RequestRecord): number {
  return record.dueMs ?? record.sentMs;
}

function meanOf(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}
