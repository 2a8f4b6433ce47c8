import type { Variant } from "../records/comparison.ts";

/** A table as data; Markdown and HTML draw it. */
export interface ReportTable {
  readonly title: string;
  /** Paragraphs below it: what the figures mean and how they were taken. */
  readonly captions: readonly string[];
  readonly header: readonly string[];
  /** Columns of words; the others hold figures and stand to the right. */
  readonly textColumns: readonly number[];
  readonly rows: readonly (readonly string[])[];
  /** Rows behind them that a page shows when it is asked to. */
  readonly folded?: { readonly summary: string; readonly rows: readonly (readonly string[])[] };
}

export function weightsText({ weights, runAs }: Variant): string {
  return runAs === null ? (weights ?? "unknown") : `${weights ?? "unknown"} run as ${runAs}`;
}

/** compressed / base, as text. */
export function ratioText(compressed: number | null | undefined, base: number | null | undefined): string {
  if (compressed == null || base == null || base === 0) return "–";
  return `${(compressed / base).toFixed(2)} ×`;
}

/** Milliseconds with about three significant digits. */
export function milliseconds(value: number): string {
  return value.toFixed(value < 10 ? 2 : value < 100 ? 1 : 0);
}
