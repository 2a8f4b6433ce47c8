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

/** Names of the two sides with their colours, from x on. */
export function sidesLegend(x: number, y: number): string[] {
  return (["base", "compressed"] as const).map((side, index) =>
    svgText(`● ${side}`, { x: x + 60 * index, y, className: `legend ${side}` }),
  );
}
