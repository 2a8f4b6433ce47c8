import { chooseAxis, placeOn } from "./axis.ts";
import { escapeXml, sidesLegend, svgFigure, svgLine, svgText } from "./svg.ts";

export interface PlotPoint {
  readonly x: number;
  readonly y: number;
  /** Ends of the interval around y; null where there is none. */
  readonly interval: readonly [low: number, high: number] | null;
}

export interface LinePlot {
  readonly title: string;
  readonly xLabel: string;
  /** With its unit. */
  readonly yLabel: string;
  /** Points by rising x. */
  readonly base: readonly PlotPoint[];
  readonly compressed: readonly PlotPoint[];
}

const size = { width: 380, height: 270 };
const area = { left: 62, right: size.width - 14, top: 48, bottom: size.height - 44 };

/** Both sides as lines with their intervals, y from 0, x positions evenly spaced by rank (concurrencies double). */
export function renderLinePlot(plot: LinePlot): string {
  const points = [...plot.base, ...plot.compressed];
  const xs = [...new Set(points.map(({ x }) => x))].sort((a, b) => a - b);
  const axis = chooseAxis(0, Math.max(...points.map(({ y, interval }) => interval?.[1] ?? y)));
  const yAt = placeOn(axis, area.bottom, area.top);
  const inner = [area.left + 14, area.right - 14] as const;
  const xAt = (x: number): number =>
    xs.length === 1
      ? (inner[0] + inner[1]) / 2
      : inner[0] + (xs.indexOf(x) / (xs.length - 1)) * (inner[1] - inner[0]);
  const middle = (area.left + area.right) / 2;
  return svgFigure({ ...size, title: plot.title }, [
    ...sidesLegend(area.left, 36),
    ...axis.ticks.flatMap(({ value, text }) => [
      svgLine("grid", [area.left, yAt(value)], [area.right, yAt(value)]),
      svgText(text, { x: area.left - 6, y: yAt(value) + 4, className: "tick end" }),
    ]),
    ...xs.map((x) => svgText(String(x), { x: xAt(x), y: area.bottom + 17, className: "tick middle" })),
    svgText(plot.xLabel, { x: middle, y: size.height - 8, className: "label middle" }),
    svgText(plot.yLabel, {
      x: 14,
      y: (area.top + area.bottom) / 2,
      className: "label middle",
      isUpright: true,
    }),
    ...(["base", "compressed"] as const).flatMap((side) => renderSeries(side, plot[side], { xAt, yAt })),
  ]);
}

interface Scale {
  readonly xAt: (x: number) => number;
  readonly yAt: (y: number) => number;
}

function renderSeries(
  side: "base" | "compressed",
  points: readonly PlotPoint[],
  { xAt, yAt }: Scale,
): string[] {
  // Whiskers of both sides at one x stand beside each other.
  const aside = side === "base" ? -2 : 2;
  const path = points.map(({ x, y }) => `${xAt(x).toFixed(1)},${yAt(y).toFixed(1)}`).join(" ");
  return [
    `<polyline class="line ${side}" points="${path}"/>`,
    ...points.flatMap(({ x, y, interval }) => [
      ...(interval === null
        ? []
        : [
            svgLine(
              `whisker ${side}`,
              [xAt(x) + aside, yAt(interval[0])],
              [xAt(x) + aside, yAt(interval[1])],
            ),
          ]),
      `<circle class="dot ${side}" cx="${xAt(x).toFixed(1)}" cy="${yAt(y).toFixed(1)}" r="3.5"><title>${escapeXml(`${side}: ${y.toPrecision(4)} at ${x}`)}</title></circle>`,
    ]),
  ];
}
