/** A text as the content of an element or an attribute. */
export function escapeXml(text: string): string {
  return text
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

export interface Frame {
  readonly title: string;
  readonly width: number;
  readonly height: number;
}

/** A figure with its title at the top left. */
export function svgFigure({ title, width, height }: Frame, parts: readonly string[]): string {
  return [
    `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeXml(title)}">`,
    svgText(title, { x: 8, y: 16, className: "title" }),
    ...parts,
    "</svg>",
  ].join("\n");
}

interface TextPlace {
  readonly x: number;
  readonly y: number;
  readonly className: string;
  /** Written from bottom to top. */
  readonly isUpright?: boolean;
}

export function svgText(text: string, { x, y, className, isUpright = false }: TextPlace): string {
  const place = isUpright
    ? `transform="translate(${x.toFixed(1)} ${y.toFixed(1)}) rotate(-90)"`
    : `x="${x.toFixed(1)}" y="${y.toFixed(1)}"`;
  return `<text class="${className}" ${place}>${escapeXml(text)}</text>`;
}

export function svgLine(
  className: string,
  [x1, y1]: readonly [number, number],
  [x2, y2]: readonly [number, number],
): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map((value) => value.toFixed(1));
  return `<line class="${className}" x1="${a}" y1="${b}" x2="${c}" y2="${d}"/>`;
}

/** Colours of the style sheet; further series begin again. */
const numColours = 6;

/** The class that gives a variant its colour, by its place among the variants. */
export function seriesClass(index: number): string {
  return `s${index % numColours}`;
}

interface Named {
  readonly name: string;
  readonly index: number;
}

const legendLineHeight = 16;
const legendWidth = 300;

/** Names of the series with their colours, in as many lines as they need. */
export function legend(
  series: readonly Named[],
  at: { readonly x: number; readonly y: number; readonly width: number },
): string[] {
  return legendPlaces(series, at.width).map(({ name, index, x, line }) =>
    svgText(`● ${name}`, {
      x: at.x + x,
      y: at.y + line * legendLineHeight,
      className: `legend ${seriesClass(index)}`,
    }),
  );
}

/** What `legend` takes from the top. */
export function legendHeight(series: readonly Named[]): number {
  const places = legendPlaces(series, legendWidth);
  return legendLineHeight * (1 + Math.max(0, ...places.map(({ line }) => line)));
}

function legendPlaces(
  series: readonly Named[],
  width: number,
): (Named & { readonly x: number; readonly line: number })[] {
  let [x, line] = [0, 0];
  return series.map(({ name, index }) => {
    // About 7 pixels a letter of this size.
    const own = 7 * (name.length + 4);
    if (x > 0 && x + own > width) [x, line] = [0, line + 1];
    const place = { name, index, x, line };
    x += own;
    return place;
  });
}
