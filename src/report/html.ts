import type { BenchStage } from "../records/bench.ts";
import type { ComparisonRecord } from "../records/comparison.ts";
import { escapeXml, renderLinePlot, type Series } from "./line-plot.ts";
import { type ReportTable, reportTables } from "./tables.ts";

const style = `
:root { color-scheme: light dark; --ink: #1c2430; --soft: #67727e; --rule: #d9dee4; --page: #fff; --hover: #f3f5f7; --base: #6b7c93; --compressed: #c2571a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa5b1; --rule: #37404a; --page: #14181d; --hover: #1e242b; --base: #93a7c1; --compressed: #f0894a; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
p.caption { margin: .5rem 0; max-width: 50rem; } p.caption, .meta { color: var(--soft); font-size: .88rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } .scroll { overflow-x: auto; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid var(--rule); text-align: right; white-space: nowrap; vertical-align: top; } th.text, td.text { text-align: left; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--page); padding-left: 0; } td.text { white-space: normal; min-width: 6.5rem; } tbody tr:hover td { background: var(--hover); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 1rem; }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif; } svg .title { font-weight: 600; } svg .tick { fill: var(--soft); font-size: 11px; }
svg .middle { text-anchor: middle; } svg .end { text-anchor: end; } svg .grid { stroke: var(--rule); } svg .line { fill: none; stroke-width: 2; }
svg .line.base { stroke: var(--base); } svg .line.compressed { stroke: var(--compressed); }
svg .dot.base, svg .legend.base { fill: var(--base); } svg .dot.compressed, svg .legend.compressed { fill: var(--compressed); }`;

/** The comparison as one HTML page without outside resources. */
export function renderHtml(record: ComparisonRecord): string {
  const title = escapeXml(`${record.base.name}: ${record.scheme} against base`);
  const notes = record.notes.map((note) => `<li>${escapeXml(note)}</li>`).join("\n");
  return [
    "<!doctype html>",
    `<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">`,
    `<title>${title}</title><style>${style}</style></head><body>`,
    `<h1>${title}</h1>`,
    `<p class="meta">Millrace ${escapeXml(record.version)}, ${escapeXml(record.createdAt)}, ${escapeXml(record.machine)}</p>`,
    `<div class="plots">${plotsOf(record).join("\n")}</div>`,
    ...reportTables(record).map(renderTable),
    ...(notes === "" ? [] : [`<h2>Notes</h2><ul>${notes}</ul>`]),
    "</body></html>",
    "",
  ].join("\n");
}

function plotsOf(record: ComparisonRecord): string[] {
  const stagesOf = (side: "base" | "compressed"): readonly BenchStage[] =>
    record[side].serving?.bench.stages ?? [];
  const plots = [qualityPlot(record), sizePlot(record)];
  const load = (
    title: string,
    yLabel: string,
    value: (stage: BenchStage) => number | undefined,
  ): string | null => {
    const series = (["base", "compressed"] as const).map((side): Series => {
      const points = stagesOf(side).flatMap((stage) => {
        const y = value(stage);
        return y === undefined ? [] : [[stage.concurrency, y] as const];
      });
      return { label: side, className: side, points };
    });
    if (series.some(({ points }) => points.length === 0)) return null;
    return renderLinePlot({ title, xLabel: "requests in flight", yLabel, series });
  };
  return [
    ...plots,
    load("Throughput", "output tokens/s", (stage) => stage.outputTokensPerSecond),
    load("Time to first token, p50", "ms", (stage) => stage.ttftMs?.p50),
    load("Time per output token (TPOT), p50", "ms", (stage) => stage.tpotMs?.p50),
    load("End to end, p50", "ms", (stage) => stage.e2eMs?.p50),
  ].filter((plot) => plot !== null);
}

/** Recovery of every metric as bars against 100 %. */
function qualityPlot(record: ComparisonRecord): string | null {
  const bars = record.accuracy.flatMap((row) =>
    row.recovery === null ? [] : [{ label: `${row.task} ${row.metric}`, share: row.recovery }],
  );
  if (bars.length === 0) return null;
  const text = (bar: { share: number }): string => `${(100 * bar.share).toFixed(1)} %`;
  return renderBars("Quality recovered", bars, text);
}

/** Size and peak memory of the compressed model as a share of the base. */
function sizePlot(record: ComparisonRecord): string {
  const bars = [{ label: "size on disk", share: record.compressed.sizeBytes / record.base.sizeBytes }];
  const [base, compressed] = [
    record.base.serving?.peakMemoryBytes,
    record.compressed.serving?.peakMemoryBytes,
  ];
  if (base != null && compressed != null) bars.push({ label: "peak memory", share: compressed / base });
  return renderBars("Size, compressed / base", bars, (bar) => `${bar.share.toFixed(2)} ×`);
}

function renderBars(
  title: string,
  bars: readonly { readonly label: string; readonly share: number }[],
  text: (bar: { readonly share: number }) => string,
): string {
  const rowHeight = 26;
  const scale = 210 / Math.max(1, ...bars.map((bar) => bar.share));
  const rows = bars.map((bar, index) => {
    const y = 34 + index * rowHeight;
    const length = Math.max(0, bar.share * scale).toFixed(1);
    return `<text class="tick end" x="170" y="${y + 13}">${escapeXml(bar.label)}</text><rect class="dot compressed" x="178" y="${y}" width="${length}" height="17" rx="2"/><text class="tick end" x="452" y="${y + 13}">${text(bar)}</text>`;
  });
  const mark = (178 + scale).toFixed(1);
  const height = 44 + bars.length * rowHeight;
  return `<svg viewBox="0 0 460 ${height}" role="img" aria-label="${escapeXml(title)}"><text class="title" x="10" y="18">${escapeXml(title)}</text>${rows.join("")}<line class="line base" x1="${mark}" x2="${mark}" y1="28" y2="${height - 8}"/></svg>`;
}

function renderTable(table: ReportTable): string {
  const cells = (row: readonly string[], tag: string): string => {
    const texts = row.map((cell, column) => {
      const kind = table.textColumns.includes(column) ? ' class="text"' : "";
      return `<${tag}${kind}>${escapeXml(cell)}</${tag}>`;
    });
    return `<tr>${texts.join("")}</tr>`;
  };
  return [
    `<h2>${escapeXml(table.title)}</h2>`,
    `<div class="scroll"><table><thead>${cells(table.header, "th")}</thead>`,
    `<tbody>${table.rows.map((row) => cells(row, "td")).join("\n")}</tbody></table></div>`,
    ...table.captions.map((caption) => `<p class="caption">${escapeXml(caption)}</p>`),
  ].join("\n");
}
