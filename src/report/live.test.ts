import { expect, test } from "vitest";
import { madeUpLevel } from "../../tests/made-up-comparison.ts";
import { renderLiveFragment } from "./live.ts";

test("every round is a line of its own, and a variant stands in the legend once", () => {
  const level = (asked: number, outputTokensPerSecond: number) =>
    madeUpLevel({
      asked,
      inFlight: asked,
      outputTokensPerSecond,
      tpotMs: { count: 8, mean: asked, p50: asked, p90: asked, p95: asked, p99: asked, weak: [] },
    });
  const rounds = [level(1, 10), level(4, 30), level(1, 12), level(4, 34)];
  const page = renderLiveFragment({
    title: "t",
    current: { label: "load", done: 0, total: 1, note: "" },
    leftMs: null,
    history: [],
    lines: [],
    levels: new Map([
      ["base", rounds],
      ["w8a8", rounds.slice(0, 3)],
    ]),
    recommendation: null,
  });
  const plots = page.match(/<svg [\s\S]*?<\/svg>/g)!;
  expect(plots).toHaveLength(2);
  for (const plot of plots) {
    const lines = [...plot.matchAll(/<polyline class="line (s\d)" points="([^"]*)"/g)];
    expect(lines.map(([, colour, points]) => [colour, points!.split(" ").length])).toEqual([
      ["s0", 2],
      ["s0", 2],
      ["s1", 2],
      ["s1", 1],
    ]);
    expect(plot.match(/● \w+/g)).toEqual(["● base", "● w8a8"]);
  }
});
