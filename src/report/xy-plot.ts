import { chooseAxis, placeOn } from "./axis.ts";
import { escapeXml, legend, legendHeight, seriesClass, svgFigure, svgLine, svgText } from "./svg.ts";

export interface PlotPoint {
  readonly x: number;
  readonly y: number;
  /** Ends of the interval around y; null where there is none. */
  readonly interval: readonly [low: number, high: number] | null;
  /** What the point stands for, shown when it is pointed at. */
  readonly label?: string;
}

export interface Series {
  /** Series of one name share their place in the legend. */
  readonly name: string;
  /** Its colour, by its place among the variants. */
  readonly index: number;
  /** In the order in which they are joined. */
  readonly points: readonly PlotPoint[];
}

export interface XyPlot {
  readonly title: string;
  readonly xLabel: string;
  /** With its unit. */
  readonly yLabel: string;
  readonly series: readonly Series[];
  /** `rank`: values of x stand at even distances, as concurrencies that double; `linear`: true to scale. */
  readonly xScale: "rank" | "linear";
  /** Points with a dot each, or a bare line. */
  readonly hasDots: boolean;
}

/** How far above the highest figure the ends of intervals are drawn, as a factor. */
const maxOver = 1.5;

const size = { width: 380, height: 270 };
/** Half of a tick of six digits, which stands about the end of its axis. */
const lastTickRoom = 22;

/** Series as lines, with their intervals; y from 0. */
export function renderXyPlot(plot: XyPlot): string {
  const named = plot.series.filter(
    ({ name }, place) => plot.series.findIndex((each) => each.name === name) === place,
  );
  const top = 30 + legendHeight(named);
  const area = { left: 62, right: size.width - lastTickRoom, top, bottom: size.height - 44 + top - 48 };
  const height = area.bottom + 44;
  const points = plot.series.flatMap((series) => series.points);
  const highest = Math.max(...points.map(({ y }) => y));
  // Of few slices an interval may be wider than any figure; it must not press the figures to the ground.
  const ends = points.map(({ interval }) => Math.min(interval?.[1] ?? 0, maxOver * highest));
  const axis = chooseAxis(0, Math.max(highest, ...ends));
  const onAxis = placeOn(axis, area.bottom, area.top);
  const yAt = (y: number): number => onAxis(Math.min(y, axis.high));
  const across = plot.xScale === "rank" ? rankAxis(points, area) : linearAxis(points, area);
  const middle = (area.left + area.right) / 2;
  return svgFigure({ width: size.width, height, title: plot.title }, [
    ...legend(named, { x: area.left, y: 34, width: area.right - area.left }),
    ...axis.ticks.flatMap(({ value, text }) => [
      svgLine("grid", [area.left, yAt(value)], [area.right, yAt(value)]),
      svgText(text, { x: area.left - 6, y: yAt(value) + 4, className: "tick end" }),
    ]),
    ...across.ticks.map(({ x, text }) => svgText(text, { x, y: area.bottom + 17, className: "tick middle" })),
    svgText(plot.xLabel, { x: middle, y: height - 8, className: "label middle" }),
    svgText(plot.yLabel, {
      x: 14,
      y: (area.top + area.bottom) / 2,
      className: "label middle",
      isUpright: true,
    }),
    ...plot.series.flatMap((series) =>
      renderSeries(series, { xAt: across.xAt, yAt, hasDots: plot.hasDots, count: plot.series.length }),
    ),
  ]);
}

interface Across {
  readonly xAt: (x: number) => number;
  readonly ticks: readonly { readonly x: number; readonly text: string }[];
}

interface Sides {
  readonly left: number;
  readonly right: number;
}

function rankAxis(points: readonly PlotPoint[], { left, right }: Sides): Across {
  const xs = [...new Set(points.map(({ x }) => x))].sort((a, b) => a - b);
  const [from, to] = [left + 14, right - 14];
  const xAt = (x: number): number =>
    xs.length === 1 ? (from + to) / 2 : from + (xs.indexOf(x) / (xs.length - 1)) * (to - from);
  // Ten names of ticks fit beside each other.
  const every = Math.ceil(xs.length / 10);
  const shown = xs.filter((_, index) => index % every === 0);
  return { xAt, ticks: shown.map((x) => ({ x: xAt(x), text: String(Number(x.toPrecision(3))) })) };
}

function linearAxis(points: readonly PlotPoint[], { left, right }: Sides): Across {
  const axis = chooseAxis(0, Math.max(...points.map(({ x }) => x)));
  const xAt = placeOn(axis, left, right);
  return { xAt, ticks: axis.ticks.map(({ value, text }) => ({ x: xAt(value), text })) };
}

interface Scale {
  readonly xAt: (x: number) => number;
  readonly yAt: (y: number) => number;
  readonly hasDots: boolean;
  /** Number of series. */
  readonly count: number;
}

function renderSeries({ name, index, points }: Series, { xAt, yAt, hasDots, count }: Scale): string[] {
  const className = seriesClass(index);
  // Whiskers of several series at one x stand beside each other.
  const aside = 4 * (index - (count - 1) / 2);
  const path = points.map(({ x, y }) => `${xAt(x).toFixed(1)},${yAt(y).toFixed(1)}`).join(" ");
  const line = `<polyline class="line ${className}" points="${path}"/>`;
  if (!hasDots) return [line];
  return [
    line,
    ...points.flatMap(({ x, y, interval, label }) => [
      ...(interval === null
        ? []
        : [
            svgLine(
              `whisker ${className}`,
              [xAt(x) + aside, yAt(interval[0])],
              [xAt(x) + aside, yAt(interval[1])],
            ),
          ]),
      `<circle class="dot ${className}" cx="${xAt(x).toFixed(1)}" cy="${yAt(y).toFixed(1)}" r="3.5"><title>${escapeXml(`${name}: ${y.toPrecision(4)} at ${label ?? x}`)}</title></circle>`,
    ]),
  ];
}
