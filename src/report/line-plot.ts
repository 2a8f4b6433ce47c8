/** One line of a plot. */
export interface Series {
  readonly label: string;
  /** Points by rising x. */
  readonly points: readonly (readonly [x: number, y: number])[];
  /** CSS class that colours it. */
  readonly className: string;
}

export interface PlotOptions {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly series: readonly Series[];
}

const width = 460;
const height = 296;
const margin = { left: 62, right: 16, top: 50, bottom: 46 };

/** A line plot as SVG, y from 0, x positions evenly spaced by value rank (concurrencies double). */
export function renderLinePlot(options: PlotOptions): string {
  const xs = [...new Set(options.series.flatMap((series) => series.points.map(([x]) => x)))].sort(
    (a, b) => a - b,
  );
  const top = niceCeiling(
    Math.max(0, ...options.series.flatMap((series) => series.points.map(([, y]) => y))),
  );
  const plotWidth = width - margin.left - margin.right;
  const plotHeight = height - margin.top - margin.bottom;
  const xAt = (x: number): number =>
    margin.left + (xs.length === 1 ? plotWidth / 2 : (xs.indexOf(x) / (xs.length - 1)) * plotWidth);
  const yAt = (y: number): number => margin.top + plotHeight * (1 - y / top);
  const parts = [
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeXml(options.title)}">`,
    `<text class="title" x="${margin.left}" y="18">${escapeXml(options.title)}</text>`,
  ];
  for (let tick = 0; tick <= 4; tick += 1) {
    const value = (top * tick) / 4;
    const y = yAt(value).toFixed(1);
    parts.push(`<line class="grid" x1="${margin.left}" x2="${width - margin.right}" y1="${y}" y2="${y}"/>`);
    parts.push(`<text class="tick end" x="${margin.left - 6}" y="${y}" dy="4">${shortNumber(value)}</text>`);
  }
  for (const x of xs) {
    parts.push(
      `<text class="tick middle" x="${xAt(x).toFixed(1)}" y="${height - margin.bottom + 16}">${x}</text>`,
    );
  }
  parts.push(
    `<text class="tick middle" x="${margin.left + plotWidth / 2}" y="${height - 8}">${escapeXml(options.xLabel)}</text>`,
    `<text class="tick middle" transform="translate(14 ${margin.top + plotHeight / 2}) rotate(-90)">${escapeXml(options.yLabel)}</text>`,
  );
  options.series.forEach((series, index) => {
    parts.push(...renderSeries(series, xAt, yAt));
    const legendX = margin.left + 90 * index;
    parts.push(
      `<text class="legend ${series.className}" x="${legendX}" y="37">● ${escapeXml(series.label)}</text>`,
    );
  });
  return [...parts, "</svg>"].join("\n");
}

function renderSeries(series: Series, xAt: (x: number) => number, yAt: (y: number) => number): string[] {
  const points = series.points.map(([x, y]) => `${xAt(x).toFixed(1)},${yAt(y).toFixed(1)}`);
  return [
    `<polyline class="line ${series.className}" points="${points.join(" ")}"/>`,
    ...series.points.map(
      ([x, y]) =>
        `<circle class="dot ${series.className}" cx="${xAt(x).toFixed(1)}" cy="${yAt(y).toFixed(1)}" r="3.5"><title>${escapeXml(`${series.label}: ${shortNumber(y)} at ${x}`)}</title></circle>`,
    ),
  ];
}

/** The next of 1, 2, 2.5, 5 × a power of ten. */
function niceCeiling(value: number): number {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((candidate) => candidate >= value) ?? 10 * power;
}

function shortNumber(value: number): string {
  if (value === 0) return "0";
  return value >= 100 ? value.toFixed(0) : value.toPrecision(3).replace(/\.?0+$/, "");
}

export function escapeXml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}
