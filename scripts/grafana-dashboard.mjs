// The Grafana dashboard in deploy/monitoring/, made of a table of panels. `generate-docs.mjs` writes it.

const own = '{model_name=~"$model"}';
const rate = (name, more = "") => `rate(${name}{model_name=~"$model"${more}}[$__rate_interval])`;
const quantiles = (name) =>
  [0.5, 0.9, 0.99].map((share) => [
    `histogram_quantile(${share}, sum by (le) (${rate(`${name}_bucket`)}))`,
    `p${100 * share}`,
  ]);

/** Title, unit of Grafana's, and queries with their legends. */
const panels = [
  [
    "Requests running and waiting",
    "short",
    [
      [`sum by (model_name) (vllm:num_requests_running${own})`, "running {{model_name}}"],
      [`sum by (model_name, reason) (vllm:num_requests_waiting_by_reason${own})`, "waiting, {{reason}}"],
    ],
  ],
  ["KV cache in use", "percentunit", [[`vllm:kv_cache_usage_perc${own}`, "{{model_name}}"]]],
  [
    "Tokens per second",
    "short",
    [
      [`sum(${rate("vllm:prompt_tokens_total")})`, "prompt"],
      [`sum(${rate("vllm:prompt_tokens_cached_total")})`, "prompt, from the cache"],
      [`sum(${rate("vllm:generation_tokens_total")})`, "generated"],
    ],
  ],
  ["Time to first token", "s", quantiles("vllm:time_to_first_token_seconds")],
  ["Time between tokens", "s", quantiles("vllm:inter_token_latency_seconds")],
  ["End-to-end latency", "s", quantiles("vllm:e2e_request_latency_seconds")],
  ["Time in the queue", "s", quantiles("vllm:request_queue_time_seconds")],
  [
    "Where a request's time goes, mean",
    "s",
    ["queue", "prefill", "decode"].map((part) => [
      `sum(${rate(`vllm:request_${part}_time_seconds_sum`)}) / sum(${rate(`vllm:request_${part}_time_seconds_count`)})`,
      part,
    ]),
  ],
  [
    "Sequences by how they ended",
    "short",
    [[`sum by (finished_reason) (${rate("vllm:request_success_total")})`, "{{finished_reason}}"]],
  ],
  [
    "Refused and failed requests",
    "short",
    [["sum by (reason) (rate(millrace:http_errors_total[$__rate_interval]))", "{{reason}}"]],
  ],
  [
    "HTTP requests",
    "short",
    [["sum by (handler, status) (rate(http_requests_total[$__rate_interval]))", "{{handler}} {{status}}"]],
  ],
  [
    "Prefix cache: share of prompt tokens found",
    "percentunit",
    [
      [
        `sum(${rate("vllm:prefix_cache_hits_total")}) / sum(${rate("vllm:prefix_cache_queries_total")})`,
        "hits",
      ],
    ],
  ],
  [
    "Preemptions and what they cost",
    "short",
    [
      [`sum(${rate("vllm:num_preemptions_total")})`, "preemptions"],
      [`sum(${rate("millrace:swapped_blocks_total")})`, "blocks swapped"],
      [`sum(${rate("millrace:recomputed_tokens_total")})`, "tokens to compute again"],
    ],
  ],
  [
    "Guesses that were right",
    "percentunit",
    [
      [
        `sum(${rate("vllm:spec_decode_num_accepted_tokens_total")}) / sum(${rate("vllm:spec_decode_num_draft_tokens_total")})`,
        "accepted",
      ],
    ],
  ],
  [
    "Tokens per step",
    "short",
    [
      [
        `sum(${rate("vllm:iteration_tokens_total_sum")}) / sum(${rate("vllm:iteration_tokens_total_count")})`,
        "mean",
      ],
    ],
  ],
  [
    "Where a step's time goes",
    "percentunit",
    [[`sum by (part) (${rate("millrace:step_seconds_total")})`, "{{part}}"]],
  ],
  ["Prompt tokens per request", "short", quantiles("vllm:request_prompt_tokens")],
  ["Generated tokens per request", "short", quantiles("vllm:request_generation_tokens")],
  [
    "Memory",
    "bytes",
    [
      [`millrace:memory_bytes${own}`, "{{part}}"],
      ["process_resident_memory_bytes", "resident"],
    ],
  ],
  ["Processor time, cores", "short", [["rate(process_cpu_seconds_total[$__rate_interval])", "cores"]]],
];

const source = { type: "prometheus", uid: "${source}" };
const width = 8;
const height = 7;
const perRow = 24 / width;

export function grafanaDashboard() {
  const dashboard = {
    title: "Millrace",
    uid: "millrace",
    schemaVersion: 39,
    refresh: "10s",
    time: { from: "now-1h", to: "now" },
    templating: {
      list: [
        { name: "source", type: "datasource", query: "prometheus" },
        {
          name: "model",
          type: "query",
          datasource: source,
          query: "label_values(vllm:num_requests_running, model_name)",
          includeAll: true,
          multi: true,
          allValue: ".*",
          refresh: 2,
        },
      ],
    },
    panels: panels.map(([title, unit, queries], at) => ({
      id: at + 1,
      type: "timeseries",
      title,
      datasource: source,
      gridPos: { h: height, w: width, x: width * (at % perRow), y: height * Math.floor(at / perRow) },
      fieldConfig: { defaults: { unit, min: 0 }, overrides: [] },
      targets: queries.map(([expr, legendFormat], target) => ({
        refId: String.fromCharCode(65 + target),
        expr,
        legendFormat,
      })),
    })),
  };
  return `${JSON.stringify(dashboard, null, 2)}\n`;
}
