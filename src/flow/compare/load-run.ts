import type { LoadLevel } from "../../records/load-level.ts";
import type { Origin } from "../../records/origin.ts";

/** A load test as any tool wrote it: what was measured, and what it was measured with. */
export interface LoadRun {
  /** For people: the model's name, or the file's. */
  readonly name: string;
  /** The tool that measured. */
  readonly tool: string;
  readonly levels: readonly LoadLevel[];
  /** What decides the figures, by name; runs that differ here are not measured alike. */
  readonly settings: Readonly<Record<string, string>>;
  /** When and where it was measured; null of a tool that does not tell. */
  readonly origin: Origin | null;
  /** What a reader of the figures must know. */
  readonly notes: readonly string[];
}

/** The setting that tells levels of one name, all at once, apart. */
export const requestsAtOnce = "requestsAtOnce";

/**
 * Of levels of several sizes all at once each is named after how many that were; those of one size are what another run had
 * at once. Repeats have to be levels of their own still: joined they have the requests of all.
 */
export function atOnceByCount(levels: readonly LoadLevel[]): LoadLevel[] {
  const atOnce = levels.filter(({ kind }) => kind === "at-once");
  if (new Set(atOnce.map(({ numRequests }) => numRequests)).size < 2) return [...levels];
  return levels.map((level) => (level.kind === "at-once" ? { ...level, asked: level.numRequests } : level));
}

/** What files of other tools say nothing of. */
export const untold = {
  firstError: null,
  errorsByKind: {},
  faults: [],
  slices: [],
  spread: { outputTokensPerSecond: null, ttftMs: null, tpotMs: null, e2eMs: null },
  rounds: [],
  quantiles: null,
  timeline: null,
} satisfies Partial<LoadLevel>;
