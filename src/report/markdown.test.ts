import { expect, test } from "vitest";
import { madeUpLevel, madeUpVariant } from "../../tests/made-up-comparison.ts";
import type { ComparisonRecord } from "../records/comparison.ts";
import { renderMarkdown } from "./markdown.ts";

/** A comparison of one variant with this text wherever a file or a server may bring its own. */
function markdownWith(text: string): string {
  const failure = { kind: "ended by itself", message: text };
  const levels = [madeUpLevel({ firstError: text, numErrors: 1, faults: [text] })];
  return renderMarkdown({
    kind: "comparison",
    title: text,
    recommendation: { variant: null, text },
    version: "0.1.0",
    writtenAt: "2026-01-01T00:00:30.000Z",
    measurements: [],
    variants: [madeUpVariant(text, { engine: text, failure, levels })],
    pairs: [{ variant: text, accuracy: [], unpaired: [], changed: [], speed: [], verdict: [text] }],
    load: {
      slo: [],
      equalConcurrency: { rows: [] },
      equalRate: { rows: [] },
      equalLoad: null,
      degradation: [null],
      concurrency: [{ kvCapacity: null, withinSlo: null, lastLevel: null }],
      violations: [[]],
    },
    pricePerHour: null,
    differences: [{ setting: text, values: [text] }],
    notes: [text],
  } satisfies ComparisonRecord);
}

test("text of files and servers brings no tag, no entity and no line of its own", () => {
  const markdown = markdownWith("a <script>x</script>\r\n| b &lt; \\| c\n\n## d");
  expect(markdown).not.toMatch(/<\/?script/);
  expect(markdown.split("\n").filter((line) => line.startsWith("|  b") || line === "## d")).toEqual([]);
  expect(markdown).toContain("# a &lt;script>x&lt;/script> | b &amp;lt; \\| c ## d\n");
  const row = markdown.split("\n").find((line) => line.includes("ended by itself"))!;
  expect(row.split(/(?<!\\)(?:\\\\)*\|/)).toHaveLength(6);
});

test("bounds and other plain text stand as they were", () => {
  const text = "ttft_p95<=200ms, R&D < 3 & more";
  expect(markdownWith(text)).toContain(`# ${text}\n`);
});
