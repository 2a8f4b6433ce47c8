import type { ComparisonRecord } from "../records/comparison.ts";
import { renderChangedAnswers } from "./changed-answers.ts";
import { reportPlots } from "./plots.ts";
import { provenanceLine } from "./provenance.ts";
import type { ReportTable } from "./report-table.ts";
import { escapeXml } from "./svg.ts";
import { reportTables } from "./tables.ts";

function seriesStyle(): string {
  return Array.from({ length: 6 }, (_, index) => {
    const colour = `var(--s${index})`;
    return `svg .s${index}:is(.line, .whisker) { stroke: ${colour}; } svg .s${index}:is(.dot, .legend) { fill: ${colour}; }`;
  }).join("\n");
}

/** Colours and letters of page and figures; a figure that is exported brings it along. */
export const style: string = `
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6672; --rule: #d9dee4; --page: #fff; --hover: #f3f5f7; --s0: #5f7189; --s1: #c2571a; --s2: #2f7d4f; --s3: #8a4fb0; --s4: #b03a5b; --s5: #3b7fb5; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --soft: #9aa5b1; --rule: #37404a; --page: #14181d; --hover: #1e242b; --s0: #93a7c1; --s1: #f0894a; --s2: #6cc08f; --s3: #c39be0; --s4: #ec8aa5; --s5: #7fbce8; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 100rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.recommendation { max-width: 62rem; font-size: 1.15rem; padding: .9rem 1.2rem; border-left: 6px solid var(--s2); background: var(--hover); } h3 { font-size: 1rem; margin: 1.2rem 0 0; } ul.verdict { max-width: 62rem; margin: .5rem 0; padding: .7rem 1.2rem .7rem 2.2rem; border-left: 4px solid var(--s1); background: var(--hover); } ul.verdict li + li { margin-top: .5rem; }
p.caption { margin: .5rem 0; max-width: 62rem; } p.caption, .meta { color: var(--soft); font-size: .88rem; } .meta { max-width: 62rem; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; } .scroll { overflow-x: auto; }
th, td { padding: .3rem .5rem; border-bottom: 1px solid var(--rule); text-align: right; vertical-align: top; } th.text, td.text { text-align: left; } td.text:last-child { min-width: 7rem; } th { vertical-align: bottom; }
th:first-child, td:first-child { position: sticky; left: 0; background: var(--page); padding-left: 0; } tbody tr:hover td { background: var(--hover); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(22rem, 100%), 1fr)); gap: 1.5rem 1rem; margin-top: 1.5rem; align-items: start; }
details { margin: .4rem 0; } details details { margin-left: 1.2rem; } summary { cursor: pointer; } pre { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--hover); padding: .6rem .8rem; max-width: 62rem; font-size: .85rem; }
svg { width: 100%; max-width: 27rem; } svg text { fill: var(--ink); font: 12px system-ui, sans-serif; } svg .title { font-weight: 600; font-size: 12.5px; } svg .tick { fill: var(--soft); font-size: 11px; } svg .inside { fill: var(--page); font-size: 11px; }
svg .middle { text-anchor: middle; } svg .end { text-anchor: end; } svg .grid { stroke: var(--rule); } svg .mark { stroke: var(--s0); stroke-width: 2; } svg .line { fill: none; stroke-width: 2; } svg .whisker { stroke-width: 1.5; }
${seriesStyle()}`;

/** The comparison as one HTML page without outside resources. */
export function renderHtml(record: ComparisonRecord): string {
  const { title, recommendation, pairs, notes } = record;
  return renderPage(title, [
    ...(recommendation === null ? [] : [`<p class="recommendation">${escapeXml(recommendation.text)}</p>`]),
    ...pairs.map(
      ({ variant, verdict }) =>
        `<h3>${escapeXml(variant)}</h3><ul class="verdict">${listItems(verdict)}</ul>`,
    ),
    `<p class="meta">${escapeXml(provenanceLine(record))}</p>`,
    `<div class="plots">${reportPlots(record)
      .map(({ svg }) => svg)
      .join("\n")}</div>`,
    `<p class="caption">Whiskers are 95 % intervals, from the documents for quality and from the spread inside a level for speed.</p>`,
    ...reportTables(record).map(renderTable),
    ...pairs.flatMap(({ variant, changed, accuracy }) => renderChangedAnswers(changed, accuracy, variant)),
    ...(notes.length === 0 ? [] : [`<h2>Notes</h2><ul>${listItems(notes)}</ul>`]),
  ]);
}

function renderPage(title: string, parts: readonly string[]): string {
  const text = escapeXml(title);
  return [
    "<!doctype html>",
    `<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">`,
    `<title>${text}</title><style>${style}</style></head><body>`,
    `<h1>${text}</h1>`,
    ...parts,
    "</body></html>",
    "",
  ].join("\n");
}

function listItems(texts: readonly string[]): string {
  return texts.map((text) => `<li>${escapeXml(text)}</li>`).join("\n");
}

function renderTable(table: ReportTable): string {
  const cells = (row: readonly string[], tag: string): string => {
    const texts = row.map((cell, column) =>
      table.textColumns.includes(column)
        ? `<${tag} class="text">${escapeXml(cell).replaceAll(/[_,](?=\w)/g, "$&<wbr>")}</${tag}>`
        : `<${tag}>${escapeXml(tag === "td" ? glued(cell) : cell)}</${tag}>`,
    );
    return `<tr>${texts.join("")}</tr>`;
  };
  const grid = (rows: ReportTable["rows"]): string =>
    `<div class="scroll"><table><thead>${cells(table.header, "th")}</thead>
<tbody>${rows.map((row) => cells(row, "td")).join("\n")}</tbody></table></div>`;
  const { folded } = table;
  return [
    `<h2>${escapeXml(table.title)}</h2>`,
    grid(table.rows),
    ...(folded === undefined
      ? []
      : [`<details><summary>${escapeXml(folded.summary)}</summary>${grid(folded.rows)}</details>`]),
    ...table.captions.map((caption) => `<p class="caption">${escapeXml(caption)}</p>`),
  ].join("\n");
}

/** A figure breaks only before its error or interval, as names do after an underscore: so wide tables fit the page. */
function glued(figure: string): string {
  return figure.replaceAll(/ (?![(±])/g, "\u00a0");
}
