import { type Axis, chooseAxis, placeOn } from "./axis.ts";
import { sidesLegend, svgFigure, svgLine, svgText } from "./svg.ts";

const width = 380;
const area = { left: 128, right: width - 16 };

export interface IntervalRow {
  /** Lines of its name. */
  readonly label: readonly string[];
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
    ...rows.flatMap(({ label, value, interval }, index) => {
      const y = top + (index + 0.5) * rowHeight + 3;
      return [
        ...label.map((text, line) => {
          const offset = 4 + 13 * (line - (label.length - 1) / 2);
          return svgText(text, { x: area.left - 8, y: y + offset, className: "tick end" });
        }),
        ...(interval === null
          ? []
          : [svgLine("whisker compressed", [xAt(interval[0]), y], [xAt(interval[1]), y])]),
        `<circle class="dot compressed" cx="${xAt(value).toFixed(1)}" cy="${y.toFixed(1)}" r="4"/>`,
      ];
    }),
  ]);
}

export interface BarRow {
  readonly label: string;
  readonly base: number;
  readonly compressed: number;
}

/** Both sides of each figure as bars from 0. */
export function renderBars(
  { title, xLabel }: { readonly title: string; readonly xLabel: string },
  rows: readonly BarRow[],
): string {
  const axis = chooseAxis(0, Math.max(...rows.flatMap(({ base, compressed }) => [base, compressed])));
  const top = 46;
  const rowHeight = 40;
  const bottom = top + rows.length * rowHeight + 4;
  const xAt = placeOn(axis, area.left, area.right);
  return svgFigure({ title, width, height: bottom + 44 }, [
    ...sidesLegend(area.left, 36),
    ...valueAxis(axis, { xAt, top, bottom, label: xLabel }),
    ...rows.flatMap((row, index) => {
      const y = top + index * rowHeight + 6;
      const bar = (side: "base" | "compressed", at: number): string[] => {
        const end = xAt(row[side]);
        const isLong = end > area.right - 48;
        const text = row[side].toPrecision(3);
        return [
          `<rect class="dot ${side}" x="${area.left}" y="${at.toFixed(1)}" width="${(end - area.left).toFixed(1)}" height="14"/>`,
          svgText(row[side] >= 1000 ? row[side].toFixed(0) : text, {
            x: isLong ? end - 4 : end + 4,
            y: at + 11,
            className: isLong ? "inside end" : "tick",
          }),
        ];
      };
      return [
        svgText(row.label, { x: area.left - 8, y: y + 19, className: "tick end" }),
        ...bar("base", y),
        ...bar("compressed", y + 15),
      ];
    }),
  ]);
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
