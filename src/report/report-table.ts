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

/** compressed / base, as text. */
export function ratioText(compressed: number | null | undefined, base: number | null | undefined): string {
  if (compressed == null || base == null || base === 0) return "–";
  return `${(compressed / base).toFixed(2)} ×`;
}
