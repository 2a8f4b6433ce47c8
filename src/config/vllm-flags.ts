/** What becomes of a flag of `vllm serve` that is not one of ours. */
export type VllmFlag = {
  /** In commander's notation. */
  readonly flag: string;
} & (
  | {
      /** Taken; the note says why it changes nothing. */
      readonly note: string;
    }
  | {
      /** Taken as this flag of ours with this value. */
      readonly means: readonly [flag: string, value: string];
    }
  | {
      /** Refused; what to use in its place. */
      readonly instead: string;
      /** Values that ask for what is so anyway, and are taken. */
      readonly taken?: readonly string[];
    }
);

const oneProcess =
  "this engine runs in one process on one machine; start several and put a proxy before them";
const always = "it is always so";

/** Flags of `vllm serve` (0.29) beside those that have the same name here. */
export const vllmFlags: readonly VllmFlag[] = [
  { flag: "--model <name>", instead: "give the model as the first argument" },
  { flag: "--uds <path>", instead: "listen with --host and --port" },
  { flag: "--revision <name>", instead: "write it behind the hub id: ORG/NAME@REVISION" },
  { flag: "--tokenizer-mode <name>", instead: "leave it out", taken: ["auto", "hf"] },
  { flag: "--trust-remote-code", note: "no code of a model is ever run" },
  { flag: "--hf-overrides <json>", instead: "change config.json in a copy of the model" },
  { flag: "--config-format <name>", instead: "leave it out: files tell their format", taken: ["auto", "hf"] },
  { flag: "--quantization <name>", instead: "leave it out: files tell it; `millrace quantize` makes them" },
  {
    flag: "--load-format <name>",
    instead: "leave it out: files tell their format",
    taken: ["auto", "safetensors"],
  },
  { flag: "--enable-chunked-prefill", note: always },
  { flag: "--no-enable-chunked-prefill", instead: "raise --max-num-batched-tokens to the longest prompt" },
  { flag: "--watermark <share>", instead: "leave it out", taken: ["0", "0.0"] },
  { flag: "--scheduler-reserve-full-isl", note: "a request that can never fit is refused when it comes" },
  { flag: "--async-scheduling", note: "a step is scheduled in microseconds, so there is nothing to hide" },
  { flag: "--no-async-scheduling", note: always },
  { flag: "--stream-interval <n>", instead: "leave it out: tokens are sent as they come", taken: ["1"] },
  { flag: "--no-enable-prefix-caching", means: ["--enable-prefix-caching", "off"] },
  { flag: "--prefix-caching-hash-algo <name>", instead: "leave it out: it is sha256", taken: ["sha256"] },
  {
    flag: "--gpu-memory-utilization <share>",
    instead: "use --memory-utilization, a share of the free memory",
  },
  { flag: "--num-gpu-blocks-override <n>", instead: "use --kv-cache-memory-bytes" },
  { flag: "--kv-offloading-size <gib>", instead: "use --swap-space" },
  { flag: "--kv-offloading-backend <name>", instead: "use --swap-space", taken: ["native"] },
  { flag: "--tensor-parallel-size <n>", instead: oneProcess, taken: ["1"] },
  { flag: "--pipeline-parallel-size <n>", instead: oneProcess, taken: ["1"] },
  { flag: "--data-parallel-size <n>", instead: oneProcess, taken: ["1"] },
  { flag: "--enable-expert-parallel", instead: oneProcess },
  { flag: "--speculative-config <json>", instead: "use --spec-method, --spec-model and --spec-tokens" },
  { flag: "--max-loras <n>", note: "a batch takes any of the adapters that are loaded" },
  { flag: "--enable-auto-tool-choice", note: always },
  { flag: "--tool-parser-plugin <file>", instead: "choose one with --tool-call-parser" },
  { flag: "--structured-outputs-config <json>", instead: "leave it out: there is one backend" },
  { flag: "--chat-template-content-format <name>", instead: "leave it out", taken: ["auto", "string"] },
  { flag: "--trust-request-chat-template", instead: "give the template with --chat-template" },
  { flag: "--max-logprobs <n>", instead: "leave it out: at most 20", taken: ["20"] },
  { flag: "--logprobs-mode <name>", instead: "leave it out", taken: ["raw_logprobs"] },
  { flag: "--enable-prompt-tokens-details", note: "usage always has them" },
  { flag: "--enable-force-include-usage", instead: "ask with stream_options.include_usage" },
  { flag: "--enable-per-request-metrics", instead: "ask with the request's field explain" },
  { flag: "--enable-request-id-headers", note: always },
  {
    flag: "--enable-log-outputs",
    instead: "use --enable-log-requests, which logs prompts; answers are never logged",
  },
  { flag: "--disable-log-stats", instead: "use --log-level warn" },
  { flag: "--disable-uvicorn-access-log", note: "there is no access log unless --access-log asks for it" },
  {
    flag: "--disable-access-log-for-endpoints <list>",
    instead: "leave out --access-log, or filter its lines",
  },
  { flag: "--ssl-cert-reqs <n>", instead: "give --ssl-ca-certs: clients must then show a certificate" },
  { flag: "--enable-ssl-refresh", instead: "restart after a new certificate; --shutdown-timeout drains" },
  { flag: "--root-path <path>", instead: "let the proxy before it strip the path" },
  { flag: "--middleware <name>", instead: "put a proxy before it" },
  { flag: "--api-server-count <n>", instead: oneProcess, taken: ["1"] },
  { flag: "--headless", instead: oneProcess },
  { flag: "--grpc", instead: "speak HTTP" },
  { flag: "--enable-sleep-mode", note: "POST /sleep is always there" },
  {
    flag: "--otlp-traces-endpoint <url>",
    instead: "ask with the request's field explain, or scrape /metrics",
  },
  { flag: "--collect-detailed-traces <name>", instead: "use --dev-endpoints: GET /debug/requests" },
  { flag: "--kv-cache-metrics", instead: "use the prefix cache's counters in /metrics" },
  { flag: "--enable-server-load-tracking", note: "GET /load is always there" },
  { flag: "--enable-tokenizer-info-endpoint", note: "GET /tokenizer_info is always there" },
  { flag: "--fingerprint-mode <name>", instead: "leave it out: answers have a fingerprint" },
];

/** Those of `vllm serve` that have the same name and meaning here. */
export const sharedVllmFlags: readonly string[] = [
  "--host",
  "--port",
  "--api-key",
  "--served-model-name",
  "--tokenizer",
  "--dtype",
  "--max-model-len",
  "--seed",
  "--max-num-seqs",
  "--max-num-batched-tokens",
  "--long-prefill-token-threshold",
  "--scheduling-policy",
  "--max-num-queued-reqs",
  "--max-num-queued-tokens",
  "--block-size",
  "--enable-prefix-caching",
  "--kv-cache-memory-bytes",
  "--kv-cache-dtype",
  "--spec-method",
  "--spec-model",
  "--spec-tokens",
  "--enable-lora",
  "--lora-modules",
  "--max-lora-rank",
  "--max-cpu-loras",
  "--tool-call-parser",
  "--reasoning-parser",
  "--chat-template",
  "--generation-config",
  "--override-generation-config",
  "--default-chat-template-kwargs",
  "--enable-log-requests",
  "--max-log-len",
  "--allowed-origins",
  "--allowed-methods",
  "--allowed-headers",
  "--allow-credentials",
  "--ssl-keyfile",
  "--ssl-certfile",
  "--ssl-ca-certs",
  "--shutdown-timeout",
  "--config",
];
