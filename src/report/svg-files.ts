import type { ComparisonRecord } from "../records/comparison.ts";
import { style } from "./html.ts";
import { reportPlots } from "./plots.ts";

/** Every figure of the report as an SVG file that stands alone. */
export function renderSvgFiles(record: ComparisonRecord): { readonly name: string; readonly text: string }[] {
  return reportPlots(record).map(({ name, svg }) => ({
    name: `${name}.svg`,
    text: `${svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ').replace(/>/, `><style>${style}</style>`)}\n`,
  }));
}
