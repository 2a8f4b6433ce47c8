import { type Axis, chooseAxis, placeOn } from "./axis.ts";
import { legend, legendHeight, seriesClass, svgFigure, svgLine, svgText } from "./svg.ts";

const width = 380;
const area = { left: 128, right: width - 22 };

export interface IntervalRow {
  /** Lines of its name. */
  readonly label: readonly string[];
  /** Its colour, by its place among the variants. */
  readonly index: number;
  readonly value: number;
  readonly interval: readonly [low: number, high: number] | null;
}

/** Values with their intervals, one row each, beside a line that marks where nothing changed. */
export function renderIntervals(
  { title, xLabel, mark }: { readonly title: string; readonly xLabel: string; readonly mark: number },
  rows: readonly IntervalRow[],
): string {
  const ends = rows.flatMap(({ value, interval }) => [value, ...(interval ?? [])]);
  // Never less than a few hundredths wide, so that a hair's breadth does not look like a gulf.
  const reach = Math.max(0.02 * mark, ...ends.map((end) => Math.abs(end - mark)));
  const isOneSided = (side: -1 | 1): boolean => ends.every((end) => side * (end - mark) <= 0.02 * mark);
  const axis = chooseAxis(
    mark - (isOneSided(-1) ? 0.02 * mark : reach),
    mark + (isOneSided(1) ? 0.02 * mark : reach),
  );
  const top = 34;
  const rowHeight = 34;
  const bottom = top + rows.length * rowHeight + 6;
  const xAt = placeOn(axis, area.left, area.right);
  return svgFigure({ title, width, height: bottom + 44 }, [
    ...valueAxis(axis, { xAt, top, bottom, label: xLabel }),
    svgLine("mark", [xAt(mark), top], [xAt(mark), bottom]),
    ...rows.flatMap(({ label, index, value, interval }, row) => {
      const y = top + (row + 0.5) * rowHeight + 3;
      return [
        ...label.map((text, line) => {
          const offset = 4 + 13 * (line - (label.length - 1) / 2);
          return svgText(text, { x: area.left - 8, y: y + offset, className: "tick end" });
        }),
        ...(interval === null
          ? []
          : [svgLine(`whisker ${seriesClass(index)}`, [xAt(interval[0]), y], [xAt(interval[1]), y])]),
        `<circle class="dot ${seriesClass(index)}" cx="${xAt(value).toFixed(1)}" cy="${y.toFixed(1)}" r="4"/>`,
      ];
    }),
  ]);
}

export interface BarRow {
  readonly label: string;
  /** In the order of the names; null where one has no such figure. */
  readonly values: readonly (number | null)[];
}

const barHeight = 14;

/** Each figure of all variants as bars from 0. */
export function renderBars(
  {
    title,
    xLabel,
    names,
  }: { readonly title: string; readonly xLabel: string; readonly names: readonly string[] },
  rows: readonly BarRow[],
): string {
  const all = rows.flatMap(({ values }) => values.filter((value) => value !== null));
  const axis = chooseAxis(0, Math.max(...all));
  const series = names.map((name, index) => ({ name, index }));
  const top = 30 + legendHeight(series);
  const rowHeight = names.length * (barHeight + 1) + 10;
  const bottom = top + rows.length * rowHeight + 4;
  const xAt = placeOn(axis, area.left, area.right);
  return svgFigure({ title, width, height: bottom + 44 }, [
    ...legend(series, { x: area.left, y: 34, width: area.right - area.left }),
    ...valueAxis(axis, { xAt, top, bottom, label: xLabel }),
    ...rows.flatMap(({ label, values }, row) => {
      const y = top + row * rowHeight + 6;
      const centre = y + (names.length * (barHeight + 1)) / 2;
      return [
        svgText(label, { x: area.left - 8, y: centre + 4, className: "tick end" }),
        ...values.flatMap((value, index) =>
          value === null ? [] : renderBar(value, { index, y: y + index * (barHeight + 1), xAt }),
        ),
      ];
    }),
  ]);
}

function renderBar(
  value: number,
  { index, y, xAt }: { readonly index: number; readonly y: number; readonly xAt: (value: number) => number },
): string[] {
  const end = xAt(value);
  const isLong = end > area.right - 48;
  return [
    `<rect class="dot ${seriesClass(index)}" x="${area.left}" y="${y.toFixed(1)}" width="${(end - area.left).toFixed(1)}" height="${barHeight}"/>`,
    svgText(value >= 1000 ? value.toFixed(0) : value.toPrecision(3), {
      x: isLong ? end - 4 : end + 4,
      y: y + 11,
      className: isLong ? "inside end" : "tick",
    }),
  ];
}

interface AxisPlace {
  readonly xAt: (value: number) => number;
  readonly top: number;
  readonly bottom: number;
  readonly label: string;
}

function valueAxis(axis: Axis, { xAt, top, bottom, label }: AxisPlace): string[] {
  return [
    ...axis.ticks.flatMap(({ value, text }) => [
      svgLine("grid", [xAt(value), top], [xAt(value), bottom]),
      svgText(text, { x: xAt(value), y: bottom + 16, className: "tick middle" }),
    ]),
    svgText(label, { x: (area.left + area.right) / 2, y: bottom + 36, className: "label middle" }),
  ];
}
