import type { VllmMetric, VllmResult } from "./vllm-result.ts";

const width = 50;
const labelWidth = 40;
const valueWidth = 10;

/** What vLLM calls its metrics, and the headline of each. */
const sections: Readonly<Record<VllmMetric, readonly [name: string, headline: string]>> = {
  ttft: ["TTFT", "Time to First Token"],
  tpot: ["TPOT", "Time per Output Token (excl. 1st token)"],
  itl: ["ITL", "Inter-token Latency"],
  e2el: ["E2EL", "End-to-end Latency"],
};

/** The block that `vllm bench serve` prints of a result, line by line. */
export function vllmConsoleBlock(
  result: VllmResult,
  metrics: readonly VllmMetric[] = ["ttft", "tpot", "itl"],
): string {
  const { max_concurrency: maxConcurrency, request_rate: rate, request_goodput: goodput } = result;
  return [
    centred(" Serving Benchmark Result ", "="),
    line("Successful requests:", result.completed),
    line("Failed requests:", result.failed),
    ...(maxConcurrency === null ? [] : [line("Maximum request concurrency:", maxConcurrency)]),
    ...(rate === "inf" ? [] : [real("Request rate configured (RPS):", rate)]),
    real("Benchmark duration (s):", result.duration),
    line("Total input tokens:", result.total_input_tokens),
    line("Total generated tokens:", result.total_output_tokens),
    real("Request throughput (req/s):", result.request_throughput),
    ...(goodput === null ? [] : [real("Request goodput (req/s):", goodput)]),
    real("Output token throughput (tok/s):", result.output_throughput),
    real("Peak output token throughput (tok/s):", result.max_output_tokens_per_s),
    real("Peak concurrent requests:", result.max_concurrent_requests),
    real("Total token throughput (tok/s):", result.total_token_throughput),
    ...metrics.flatMap((metric) => sectionOf(metric, result)),
    "=".repeat(width),
  ].join("\n");
}

function sectionOf(metric: VllmMetric, result: VllmResult): string[] {
  const [name, headline] = sections[metric];
  const figure = (which: string): number => result[`${which}_${metric}_ms`] as number;
  return [
    centred(headline, "-"),
    real(`Mean ${name} (ms):`, figure("mean")),
    real(`Median ${name} (ms):`, figure("median")),
    real(`P99 ${name} (ms):`, figure("p99")),
  ];
}

function line(label: string, value: number | string): string {
  return `${label.padEnd(labelWidth)} ${String(value).padEnd(valueWidth)}`;
}

function real(label: string, value: number): string {
  return line(label, value.toFixed(2));
}

/** In the middle of the width; an odd rest goes behind, as Python's format has it. */
function centred(text: string, fill: string): string {
  const rest = Math.max(0, width - text.length);
  return fill.repeat(Math.floor(rest / 2)) + text + fill.repeat(Math.ceil(rest / 2));
}
