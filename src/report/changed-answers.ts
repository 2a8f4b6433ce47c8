import type { AccuracyRow, ChangedAnswer } from "../records/comparison.ts";
import { escapeXml } from "./svg.ts";

const titles = { lost: "right → wrong", gained: "wrong → right" } as const;

/** What changed, one folded list for each task and direction; every answer unfolds to its prompt and what both said. */
export function renderChangedAnswers(
  changed: readonly ChangedAnswer[],
  accuracy: readonly AccuracyRow[],
  variant: string,
): string[] {
  if (changed.length === 0) return [];
  const tasks = [...new Set(changed.map(({ task }) => task))];
  const lists = tasks.flatMap((task) =>
    (["lost", "gained"] as const).flatMap((change) => {
      const own = changed.filter((each) => each.task === task && each.change === change);
      const [first] = own;
      if (first === undefined) return [];
      const row = accuracy.find((each) => each.task === task && each.metric === first.metric);
      const numAll = row?.numFlips?.[change] ?? own.length;
      const shown = numAll > own.length ? `, the first ${own.length} of them` : "";
      const title = `${task} ${first.metric}, ${titles[change]}: ${numAll}${shown}`;
      return [
        `<details class="changed"><summary>${escapeXml(title)}</summary>`,
        ...own.map(renderAnswer),
        "</details>",
      ];
    }),
  );
  return [`<h2>What changed with ${escapeXml(variant)}</h2>`, ...lists];
}

function renderAnswer(answer: ChangedAnswer): string {
  const { docId, prompt, target, choices, written } = answer;
  const lastLine = prompt
    .trimEnd()
    .split("\n")
    .filter((line) => line.trim() !== "");
  const hint = (lastLine.at(-2) ?? lastLine.at(-1) ?? "").slice(0, 90);
  return [
    `<details><summary>document ${docId} <span class="meta">${escapeXml(hint)}</span></summary>`,
    ...(prompt === "" ? [] : [`<pre>${escapeXml(prompt)}</pre>`]),
    choices === null ? "" : renderChoices(choices, target),
    written === null ? "" : renderWritten(written, target),
    "</details>",
  ].join("\n");
}

/** The chosen answer of each model is marked; the right one is named below. */
function renderChoices(choices: NonNullable<ChangedAnswer["choices"]>, target: string): string {
  const bestOf = (side: "base" | "compressed"): number =>
    choices.reduce((best, choice, i) => (choice[side] > choices[best]![side] ? i : best), 0);
  const best = { base: bestOf("base"), compressed: bestOf("compressed") };
  const cell = (side: "base" | "compressed", i: number): string => {
    const text = choices[i]![side].toFixed(4);
    return `<td>${best[side] === i ? `<strong>${text}</strong>` : text}</td>`;
  };
  const rows = choices.map(
    ({ text }, i) =>
      `<tr><td class="text">${i}: ${escapeXml(text)}</td>${cell("base", i)}${cell("compressed", i)}</tr>`,
  );
  return [
    `<table><thead><tr><th class="text">answer</th><th>log-likelihood, base</th><th>compressed</th></tr></thead>`,
    `<tbody>${rows.join("\n")}</tbody></table>`,
    `<p class="caption">Right: ${escapeXml(target)}. Bold: the highest sum; metrics that divide by length may choose another.</p>`,
  ].join("\n");
}

function renderWritten({ base, compressed }: NonNullable<ChangedAnswer["written"]>, target: string): string {
  return [
    `<p class="caption">Right: ${escapeXml(target)}</p>`,
    `<p class="caption">base</p><pre>${escapeXml(base)}</pre>`,
    `<p class="caption">compressed</p><pre>${escapeXml(compressed)}</pre>`,
  ].join("\n");
}
