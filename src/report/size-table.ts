import { formatBytes, formatDuration } from "../base/units.ts";
import type { Variant } from "../records/comparison.ts";
import { type ReportTable, ratioText, weightsText } from "./report-table.ts";

/** What each variant takes on disk and in memory, each beside its share of the base's; null where nobody knows anything. */
export function sizeTable(variants: readonly Variant[]): ReportTable | null {
  const bytes = (label: string, of: (variant: Variant) => number | null | undefined): string[] | null =>
    figureRow(label, variants.map(of), formatBytes);
  const rows = [
    variants.some(({ weights }) => weights !== null) ? ["weights", ...variants.map(weightsText)] : null,
    bytes("size on disk", ({ sizeBytes }) => sizeBytes),
    bytes("server process, peak under load", ({ serving }) => serving?.peakMemoryBytes),
    bytes("server process, ready and idle", ({ serving }) => serving?.readyMemoryBytes),
    bytes("weights in memory", ({ serving }) => serving?.memoryPlan?.weights),
    bytes("KV cache pool, reserved", ({ serving }) => serving?.memoryPlan?.kvCache),
    bytes("activation buffers", ({ serving }) => serving?.memoryPlan?.activations),
    figureRow(
      "ready after",
      variants.map(({ serving }) => serving?.readyMs),
      formatDuration,
    ),
  ].filter((row) => row !== null);
  if (rows.length === 0) return null;
  return {
    title: "Size and memory",
    captions: [
      "The ratio behind a figure is its share of the base's. The process is measured from outside: its resident size when it is ready and before the first request, and the highest from its start to the end of the load. Weights, KV cache pool and activation buffers are what the engine allocated, as the server counts; the rest of the process is the server's own. Pages of the pool count in the process only once a request has touched them, so a longer or busier load raises the peak, up to the whole pool.",
    ],
    header: ["", ...variants.map(({ name }) => name)],
    textColumns: [0],
    rows,
  };
}

/** Null where no variant has the figure. */
function figureRow(
  label: string,
  values: readonly (number | null | undefined)[],
  write: (value: number) => string,
): string[] | null {
  if (values.every((value) => value == null)) return null;
  const [base] = values;
  const cells = values.map((value, index) => {
    if (value == null) return "unknown";
    return index === 0 || base == null ? write(value) : `${write(value)} (${ratioText(value, base)})`;
  });
  return [label, ...cells];
}
