import type { ComparisonRecord } from "../records/comparison.ts";
import { type Latency, levelName } from "../records/load-level.ts";

const latencies = ["ttftMs", "tpotMs", "itlMs", "e2eMs"] as const;
const statistics = ["mean", "p50", "p90", "p95", "p99"] as const;

/** Every level of every variant, one line each (RFC 4180); empty where a figure is not known. */
export function renderCsv({ variants }: ComparisonRecord): string {
  const header = [
    "variant",
    "load",
    "kind",
    "asked",
    "in_flight",
    "requests_per_second",
    "output_tokens_per_second",
    "total_tokens_per_second",
    "requests",
    "errors",
    ...latencies.flatMap((name) => statistics.map((statistic) => `${snakeCase(name)}_${statistic}`)),
    "does_not_count",
  ];
  const rows = variants.flatMap(({ name, levels }) =>
    levels.map((level) => [
      name,
      levelName(level),
      level.kind,
      level.asked,
      level.inFlight,
      level.requestsPerSecond,
      level.outputTokensPerSecond,
      level.totalTokensPerSecond,
      level.numRequests,
      level.numErrors,
      ...latencies.flatMap((key) => cellsOf(level[key])),
      level.faults.join("; "),
    ]),
  );
  return [header, ...rows].map((row) => `${row.map(cell).join(",")}\r\n`).join("");
}

function cellsOf(latency: Latency | null): (number | null)[] {
  return statistics.map((statistic) => latency?.[statistic] ?? null);
}

function snakeCase(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function cell(value: string | number | null): string {
  const text = value === null ? "" : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
