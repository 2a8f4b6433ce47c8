import type { ComparisonRecord, Variant } from "../records/comparison.ts";

/** A table as data; Markdown and HTML draw it. */
export interface ReportTable {
  readonly title: string;
  /** Paragraphs below it: what the figures mean and how they were taken. */
  readonly captions: readonly string[];
  readonly header: readonly string[];
  /** Columns of words; the others hold figures and stand to the right. */
  readonly textColumns: readonly number[];
  readonly rows: readonly (readonly string[])[];
}

/** `w8a8 against base (GGUF Q4_1 run as bfloat16)`, behind the model's name. */
export function titleOf({ base, scheme }: Pick<ComparisonRecord, "base" | "scheme">): string {
  return `${base.name}: ${scheme} against base (${weightsText(base)})`;
}

export function weightsText({ weights, runAs }: Variant): string {
  return runAs === null ? weights : `${weights} run as ${runAs}`;
}

/** compressed / base, as text. */
export function ratioText(compressed: number | null | undefined, base: number | null | undefined): string {
  if (compressed == null || base == null || base === 0) return "–";
  return `${(compressed / base).toFixed(2)} ×`;
}
