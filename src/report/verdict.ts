import { formatBytes } from "../base/units.ts";
import type { AccuracyRow, Pair, SpeedRow, UnpairedDocuments, Variant } from "../records/comparison.ts";
import { accuracyVerdict } from "./accuracy.ts";
import { headlineRows } from "./recovery.ts";
import { ratioText } from "./report-table.ts";

/** With more tasks than this, those without a difference are counted, not named. */
const maxNamedTasks = 4;

/** A variant against the base in three sentences: what it costs in quality, what it gives in size and in speed. */
export function pairVerdict(
  base: Variant,
  variant: Variant,
  { accuracy, unpaired, speed }: Pick<Pair, "accuracy" | "unpaired" | "speed">,
): string[] {
  const size = sizeVerdict(base, variant);
  return [qualityVerdict(accuracy, unpaired), ...(size === null ? [] : [size]), speedVerdict(speed, variant)];
}

/** Quality by the first metric of each task or group, with its interval; what lies inside the noise is called undetermined. */
export function qualityVerdict(
  accuracy: readonly AccuracyRow[],
  unpaired: readonly UnpairedDocuments[],
): string {
  const rows = headlineRows(accuracy);
  if (rows.length === 0) return "Quality: not measured.";
  const decided = rows.filter((row) => ["worse", "better"].includes(accuracyVerdict(row)));
  const named = rows.length <= maxNamedTasks ? rows : decided;
  const others = rows.filter((row) => !named.includes(row)).map(accuracyVerdict);
  const counted = [...new Set(others)].map(
    (verdict) => `${others.filter((each) => each === verdict).length} ${verdict}`,
  );
  const parts = [
    ...named.map(taskText),
    ...(counted.length === 0 ? [] : [`${decided.length === 0 ? "all" : "the other"} ${counted.join(", ")}`]),
  ];
  const numUnpaired = unpaired.reduce(
    (sum, entry) => sum + entry.onlyBase.length + entry.onlyCompressed.length,
    0,
  );
  const rest =
    numUnpaired === 0 ? "" : ` ${numUnpaired} documents have no counterpart and count in no figure.`;
  return `Quality: ${qualityLead(rows)}: ${parts.join("; ")}.${rest}`;
}

function qualityLead(rows: readonly AccuracyRow[]): string {
  const verdicts = rows.map(accuracyVerdict);
  const count = (verdict: string): number => verdicts.filter((entry) => entry === verdict).length;
  const [worse, better] = [count("worse"), count("better")];
  const of = `of ${rows.length} ${rows.length === 1 ? "task" : "tasks"}`;
  if (worse > 0)
    return `the compression costs quality in ${worse} ${of}${better > 0 ? ` and gains it in ${better}` : ""}`;
  if (better > 0) return `the compressed model is better in ${better} ${of}`;
  if (count("equivalent") === rows.length) return `no difference above 1 % ${of.replace("of", "in")}`;
  const noise = "any cost is inside the noise of these documents";
  if (count("equivalent") === 0) return `undetermined, ${noise}`;
  return `no difference above 1 % in ${count("equivalent")} ${of}; undetermined in ${count("undetermined")}, where ${noise}`;
}

/** `wikitext word_perplexity 25.13 → 25.60, 98.2 % kept (95 % interval 97.5 to 98.9), worse`. */
function taskText(row: AccuracyRow): string {
  const figure = (value: number): string => value.toPrecision(4);
  const percent = (share: number): string => (100 * share).toFixed(1);
  const kept = row.recovery === null ? "" : `, ${percent(row.recovery)} % kept`;
  const interval =
    row.recoveryLow === null || row.recoveryHigh === null
      ? ""
      : ` (95 % interval ${percent(row.recoveryLow)} to ${percent(row.recoveryHigh)})`;
  const flips =
    row.numFlips === null ? "" : `, ${row.numFlips.lost} answers lost and ${row.numFlips.gained} gained`;
  return `${row.task} ${row.metric} ${figure(row.base)} → ${figure(row.compressed)}${kept}${interval}${flips}, ${accuracyVerdict(row)}`;
}

function sizeVerdict(base: Variant, variant: Variant): string | null {
  const change = (after: number, before: number): string =>
    `${formatBytes(after)} instead of ${formatBytes(before)} (${ratioText(after, before)})`;
  const { runAs } = base;
  const parts: string[] = [];
  if (base.sizeBytes !== null && variant.sizeBytes !== null) {
    const larger = variant.sizeBytes > base.sizeBytes ? `, so ${variant.name} is the larger file` : "";
    const stored = runAs === null ? "" : `, the base being ${base.weights}`;
    parts.push(`${change(variant.sizeBytes, base.sizeBytes)} on disk${stored}${larger}`);
  }
  const [a, b] = [base.serving, variant.serving];
  if (a?.memoryPlan != null && b?.memoryPlan != null) {
    parts.push(
      `${change(b.memoryPlan.weights, a.memoryPlan.weights)} of weights in memory${runAs === null ? "" : `, the base run as ${runAs}`}`,
    );
  }
  if (a?.peakMemoryBytes != null && b?.peakMemoryBytes != null) {
    parts.push(
      `${change(b.peakMemoryBytes, a.peakMemoryBytes)} for the whole server process at its peak, of which the KV cache that this load has touched is a part`,
    );
  }
  return parts.length === 0 ? null : `Size and memory: ${parts.join("; ")}.`;
}

function speedVerdict(speed: readonly SpeedRow[], variant: Variant): string {
  const { failure } = variant;
  const rows = speed.filter((row) => row.metric === "outputTokensPerSecond");
  if (rows.length === 0)
    return failure === null
      ? "Speed: no load that both were given and answered."
      : `Speed: not measured. ${failure.message}`;
  // The recommendation ranks by the greatest load that tells the two apart, which may be neither end.
  const telling = rows.findLast(({ verdict }) => verdict === "faster" || verdict === "slower");
  const shown = rows.filter((row, index) => index === 0 || row === telling || index === rows.length - 1);
  const parts = shown.map((row) => {
    const interval =
      row.ratioLow === null || row.ratioHigh === null
        ? ""
        : `, 95 % interval ${row.ratioLow.toFixed(2)} to ${row.ratioHigh.toFixed(2)}`;
    return `${rate(row.compressed)} instead of ${rate(row.base)} output tokens/s ${atLevel(row.level)} (${ratioText(row.compressed, row.base)}${interval}), ${row.verdict}`;
  });
  return `Speed: ${parts.join("; ")}.${failure === null ? "" : ` This is from ${roundsBefore(variant)}. ${failure.message}`}`;
}

/** `the round before it failed`, `the 2 rounds before it failed`. */
function roundsBefore({ serving }: Variant): string {
  const count = serving?.numRounds ?? 1;
  return `the ${count === 1 ? "round" : `${count} rounds`} before it failed`;
}

/** `with 25 in flight`, `at 1.3 requests/s`, `all at once`. */
function atLevel(level: string): string {
  if (level.endsWith("in flight")) return `with ${level}`;
  return level.endsWith("requests/s") ? `at ${level}` : level;
}

function rate(tokensPerSecond: number): string {
  return tokensPerSecond.toFixed(tokensPerSecond < 100 ? 1 : 0);
}
