import { expect, test } from "vitest";
import type { AccuracyRow, ChangedAnswer } from "../records/comparison.ts";
import { renderChangedAnswers } from "./changed-answers.ts";

const changed: ChangedAnswer[] = [
  {
    task: "quiz",
    metric: "acc",
    change: "lost",
    docId: 4,
    prompt: "Is 1 < 2?\nAnswer:",
    target: "0",
    choices: [
      { text: " yes", base: -1.25, compressed: -3 },
      { text: " no", base: -2, compressed: -1.5 },
    ],
    written: null,
  },
  {
    task: "gsm",
    metric: "exact_match",
    change: "gained",
    docId: 7,
    prompt: "Q",
    target: "4",
    choices: null,
    written: { base: "<b>5</b>", compressed: "4" },
  },
];
const rows = [{ task: "quiz", metric: "acc", numFlips: { lost: 6, gained: 2 } }] as AccuracyRow[];

test("the page unfolds every answer that changed, with what both said, and escapes it", () => {
  const html = renderChangedAnswers(changed, rows, "w8a8").join("\n");
  expect(html).toContain("<summary>quiz acc, right → wrong: 6, the first 1 of them</summary>");
  expect(html).toContain("<pre>Is 1 &lt; 2?\nAnswer:</pre>");
  expect(html).toContain("<td><strong>-1.2500</strong></td><td>-3.0000</td>");
  expect(html).toContain("<td>-2.0000</td><td><strong>-1.5000</strong></td>");
  expect(html).toContain("<pre>&lt;b&gt;5&lt;/b&gt;</pre>");
  expect(html).not.toMatch(/<details[^>]* open|<script|https?:/);
});
