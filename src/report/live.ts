import { formatDuration } from "../base/units.ts";
import { type LoadLevel, levelName, loadOf } from "../records/load-level.ts";
import { style } from "./html.ts";
import { escapeXml } from "./svg.ts";
import { renderXyPlot, type Series } from "./xy-plot.ts";

/** What is known of a level as soon as one round of it is over. */
export type LiveLevel = Pick<
  LoadLevel,
  "kind" | "asked" | "inFlight" | "requestsPerSecond" | "medians" | "outputTokensPerSecond" | "tpotMs"
>;

/** What a flow has done so far. */
export interface LiveState {
  readonly title: string;
  /** The stage that runs: what it is, units done of all, a note with current figures. */
  readonly current: {
    readonly label: string;
    readonly done: number;
    readonly total: number;
    readonly note: string;
  };
  /** Until this stage ends, by its speed so far; null where nobody can tell. */
  readonly leftMs: number | null;
  /** Units of the current stage that were done at a time since its start. */
  readonly history: readonly { readonly atMs: number; readonly done: number }[];
  /** Closing lines of finished stages, the newest last. */
  readonly lines: readonly string[];
  /** Levels by the variant that they were measured of, in the order in which variants came. */
  readonly levels: ReadonlyMap<string, readonly LiveLevel[]>;
  /** Null while there is none yet. */
  readonly recommendation: string | null;
}

/** The page that follows a flow: it asks for the fragment again whenever it hears that something changed. */
export function renderLivePage(title: string): string {
  return [
    "<!doctype html>",
    `<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">`,
    `<title>${escapeXml(title)}</title><style>${style} progress { width: 100%; max-width: 62rem; height: 1rem; } ol { font-size: .88rem; }</style></head><body>`,
    `<main id="live"></main>`,
    `<script>
const live = document.getElementById("live");
const events = new EventSource("events");
events.onmessage = ({ data }) => { live.innerHTML = JSON.parse(data); };
events.addEventListener("end", () => events.close());
</script>`,
    "</body></html>",
  ].join("\n");
}

const maxLines = 12;

/** What the page shows now. */
export function renderLiveFragment(state: LiveState): string {
  const { title, current, leftMs, lines, recommendation } = state;
  const left = leftMs === null ? "" : `, ${formatDuration(leftMs)} left`;
  const plots = [historyPlot(state), throughputPlot(state), latencyPlot(state)].filter(
    (plot) => plot !== null,
  );
  return [
    `<h1>${escapeXml(title)}</h1>`,
    ...(recommendation === null
      ? [
          `<p id="current">${escapeXml(current.label)}: ${Math.round(current.done)} of ${Math.round(current.total)}${left}. ${escapeXml(current.note)}</p>`,
          `<progress max="${Math.max(1, current.total)}" value="${current.done}"></progress>`,
        ]
      : [`<p class="recommendation">${escapeXml(recommendation)}</p>`]),
    `<div class="plots">${plots.join("\n")}</div>`,
    `<ol>${lines
      .slice(-maxLines)
      .map((line) => `<li>${escapeXml(line)}</li>`)
      .join("\n")}</ol>`,
  ].join("\n");
}

/** How the stage that runs gets on. */
function historyPlot({ history, current }: LiveState): string | null {
  if (history.length < 2) return null;
  const points = history.map(({ atMs, done }) => ({ x: atMs / 1000, y: done, interval: null }));
  return renderXyPlot({
    title: "Now",
    xLabel: "seconds",
    yLabel: "done",
    series: [{ name: current.label, index: 0, points }],
    xScale: "linear",
    hasDots: false,
  });
}

function throughputPlot({ levels }: LiveState): string | null {
  const series = roundsOf(levels).map(
    ({ name, index, round }): Series => ({
      name,
      index,
      points: round
        .map((level) => ({
          x: loadOf(level),
          y: level.outputTokensPerSecond,
          interval: null,
          label: levelName(level),
        }))
        .toSorted((a, b) => a.x - b.x),
    }),
  );
  if (series.length === 0) return null;
  const texts = { title: "Throughput so far", xLabel: "requests in flight", yLabel: "output tokens/s" };
  return renderXyPlot({ ...texts, series, xScale: "rank", hasDots: true });
}

function latencyPlot({ levels }: LiveState): string | null {
  const series = roundsOf(levels).flatMap(({ name, index, round }): Series[] => {
    const points = round.flatMap((level) =>
      level.tpotMs === null
        ? []
        : [{ x: level.tpotMs.p50, y: level.outputTokensPerSecond, interval: null, label: levelName(level) }],
    );
    return points.length === 0 ? [] : [{ name, index, points: points.toSorted((a, b) => a.x - b.x) }];
  });
  if (series.length === 0) return null;
  const texts = {
    title: "Throughput against latency so far",
    xLabel: "TPOT p50, ms",
    yLabel: "output tokens/s",
  };
  return renderXyPlot({ ...texts, series, xScale: "linear", hasDots: true });
}

interface Round {
  readonly name: string;
  readonly index: number;
  readonly round: LiveLevel[];
}

/** The rounds of all variants, each a line of its own: a level that comes again begins the next round. */
function roundsOf(levels: LiveState["levels"]): Round[] {
  return [...levels].flatMap(([name, own], index) => {
    const rounds: Round[] = [];
    for (const level of own) {
      const last = rounds.at(-1)?.round;
      const isNew = last?.every((each) => levelName(each) !== levelName(level)) ?? false;
      if (isNew) last!.push(level);
      else rounds.push({ name, index, round: [level] });
    }
    return rounds;
  });
}
