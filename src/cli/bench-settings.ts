import { validateHeaderName, validateHeaderValue } from "node:http";
import { z } from "zod";
import { consoleDialects } from "../bench/dialects/load-exports.ts";
import { goodputMetrics } from "../bench/figures/goodput.ts";
import { type Component, field } from "../config/component.ts";
import {
  integer,
  integerList,
  jsonObject,
  oneOf,
  positiveOrInfinite,
  rateList,
  real,
  textList,
} from "../config/value-schemas.ts";
import { apiKeyField } from "./api-key.ts";
import { trustSettings } from "./trust-settings.ts";

/** Settings of the load; the flow takes them too. */
export const loadSettings = {
  concurrency: field(
    "--concurrency <list>",
    integerList.default([1, 4, 16]),
    "requests in flight, one stage each",
  ),
  requestsPerSeat: field(
    "--requests-per-seat <n>",
    integer(1).default(3),
    "requests of a stage = this × concurrency, at least 8",
  ),
  minSeconds: field(
    "--min-seconds <n>",
    integer(0, 86400).default(3),
    "a stage goes on with further requests until it is so old",
  ),
  inputTokens: field("--input-tokens <n>", integer(1).default(128), "prompt length"),
  outputTokens: field(
    "--output-tokens <n>",
    integer(1).default(64),
    "tokens to generate; the end token is ignored",
  ),
} satisfies Component;

/** "ttft:500,tpot:50" as targets, with vLLM's names. */
const goodputList = z.string().transform((text, context) =>
  text.split(/[,\s]+/).map((part) => {
    const [name, limit] = part.split(":");
    const metric = goodputMetrics[name as keyof typeof goodputMetrics];
    const maxMs = limit === undefined || limit === "" ? Number.NaN : Number(limit);
    if (metric !== undefined && maxMs > 0) return { metric, maxMs };
    const message = `it takes ${Object.keys(goodputMetrics).join(", ")} with milliseconds, such as ttft:500,tpot:50`;
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  }),
);

/** "Name: value" pairs, each name once in any case; by lower-case names. */
const headers = z.array(z.string()).transform((lines, context) => {
  const pairs = new Map<string, string>();
  for (const line of lines) {
    const divider = line.search(/[:=]/);
    const name = line.slice(0, Math.max(0, divider)).trim().toLowerCase();
    const value = line.slice(divider + 1).trim();
    const isPair = divider > 0 && isHeader(name, value);
    if (isPair && !pairs.has(name)) {
      pairs.set(name, value);
      continue;
    }
    const message = isPair
      ? `it takes every header once, in whatever case; ${name} is there twice`
      : "it takes a name and a value, such as 'X-Team: search'";
    context.addIssue({ code: "custom", message });
    return z.NEVER;
  }
  return Object.fromEntries(pairs);
});

function isHeader(name: string, value: string): boolean {
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
    return true;
  } catch {
    // Node tells characters that HTTP does not allow by an error.
    return false;
  }
}

/** How requests come at a rate. */
export const rateSettings = {
  requestRate: field(
    "--request-rate <list>",
    rateList.default([]),
    "requests per second, one stage each, or inf for all at once; without --concurrency no closed loop is run",
  ),
  burstiness: field(
    "--burstiness <n>",
    positiveOrInfinite.prefault("1"),
    "how requests come at a rate: 1 Poisson, below 1 in bursts, above more evenly, inf at even gaps",
  ),
  numRequests: field(
    "--num-requests <n>",
    integer(1, 1_000_000).optional(),
    "requests of a stage with a rate (default: what comes in --min-seconds, at least 8; 32 at once; a whole trace)",
  ),
  maxConcurrency: field(
    "--max-concurrency <n>",
    integer(1, 100_000).optional(),
    "most requests in flight of a stage with a rate (default: no limit)",
  ),
  rampUpStrategy: field(
    "--ramp-up-strategy <kind>",
    oneOf(["linear", "exponential"]).optional(),
    "one stage whose rate changes from --ramp-up-start-rps to --ramp-up-end-rps",
  ),
  rampUpStartRps: field("--ramp-up-start-rps <n>", real(1e-3, 1e5).default(1), "rate at the ramp's start"),
  rampUpEndRps: field("--ramp-up-end-rps <n>", real(1e-3, 1e5).default(10), "rate at the ramp's end"),
  trace: field(
    "--trace <file>",
    z.string().optional(),
    "one stage with the arrivals and lengths of a trace: CSV of the Azure traces, or JSON lines as Mooncake's; other stages have its lengths too",
  ),
  traceSpeed: field("--trace-speed <n>", real(1e-3, 1e3).default(1), "how much faster than it was recorded"),
} satisfies Component;

/** Loads that follow from what the server does. */
export const searchSettings = {
  profile: field(
    "--profile <name>",
    oneOf(["sweep"]).optional(),
    "sweep: one request at a time, as many as the server takes, then rates between; --max-seconds each (default 120)",
  ),
  sweepSize: field("--sweep-size <n>", integer(3, 100).default(10), "stages of a sweep"),
  slo: field(
    "--slo <targets>",
    z.string().optional(),
    "find the highest load that meets these, such as ttft_p90<=500ms,itl_p95<=50ms,e2e_p99<=10s, with at most 1 % of errors",
  ),
  search: field(
    "--search <variable>",
    oneOf(["concurrency", "rate"]).default("concurrency"),
    "what --slo searches",
  ),
  searchFrom: field(
    "--search-from <n>",
    real(1e-3, 1e5).default(1),
    "first load that the search tries; whole requests in flight, or a rate",
  ),
  searchTo: field("--search-to <n>", real(1e-3, 1e5).default(256), "highest load that the search tries"),
  searchTolerance: field("--search-tolerance <share>", real(0, 1).default(0.1), "how exact the search is"),
  maxProbes: field("--max-probes <n>", integer(2, 1000).default(15), "loads that the search tries at most"),
} satisfies Component;

/** More rounds take days. */
export const mostRounds = 1000;

/** Two servers by turns. */
export const versusSettings = {
  versus: field(
    "--versus <url>",
    z.string().optional(),
    "load this server too, by turns (A B B A), and say which is better; its own URL again shows the noise",
  ),
  versusModel: field(
    "--versus-model <name>",
    z.string().optional(),
    "model name to ask the other server for",
  ),
  rounds: field(
    "--rounds <n>",
    integer(4, mostRounds).default(6),
    "rounds before it knows how many a verdict needs",
  ),
  maxRounds: field("--max-rounds <n>", integer(4, mostRounds).default(20), "rounds at most"),
  margin: field("--margin <share>", real(0, 1).default(0.02), "a difference this small counts as none"),
  detect: field(
    "--detect <share>",
    real(1e-3, 1).default(0.05),
    "the difference that is to be found in nine runs of ten",
  ),
} satisfies Component;

/** What is sent, to whom, and what is kept. */
export const benchSettings = {
  data: field(
    "--data <spec>",
    z.string().optional(),
    "prompts: prompt_tokens=512,output_tokens=128 with GuideLLM's keys, or a file of prompts or conversations",
  ),
  chat: field("--chat", z.boolean().default(false), "send messages to /v1/chat/completions"),
  caches: field(
    "--caches <state>",
    oneOf(["cold", "primed"]).default("cold"),
    "cold: no prompt begins as one of an earlier run; primed: the same prompts each time, 20 requests of warm-up",
  ),
  maxSeconds: field(
    "--max-seconds <n>",
    integer(1, 86400).optional(),
    "cut every stage off when it is so old; what is in flight then counts as censored",
  ),
  goodput: field(
    "--goodput <list>",
    goodputList.default([]),
    "milliseconds that a request has to meet: ttft, tpot, e2el, such as ttft:500,tpot:50",
  ),
  model: field(
    "--model <name>",
    z.string().optional(),
    "model name to ask for (default: the first that the server lists)",
  ),
  apiKey: apiKeyField("bearer token"),
  header: field(
    "--header <text...>",
    headers.prefault([]),
    "header of every request, 'Name: value'; repeatable",
  ),
  ...trustSettings,
  also: field(
    "--also <list>",
    textList.default([]),
    "further servers of the same model, which share the load",
  ),
  extraBody: field("--extra-body <json>", jsonObject.prefault("{}"), "fields that go into every request"),
  continuousUsage: field(
    "--continuous-usage",
    z.boolean().default(false),
    "have the server count tokens in every event, which shows the tokens of each",
  ),
  timeout: field(
    "--timeout <seconds>",
    integer(0, 86400).default(600),
    "how long an answer or its next part may take; 0 for ever",
  ),
  readyTimeout: field(
    "--ready-timeout <seconds>",
    integer(0, 86400).default(0),
    "how long to wait for a server that is not ready yet, or has no room for the warm-up",
  ),
  clientThreads: field(
    "--client-threads <n>",
    integer(1, 64).default(1),
    "threads that send, for a load that one cannot keep up with",
  ),
  vocab: field(
    "--vocab <n>",
    integer(256).optional(),
    "send random token ids below n instead of common words",
  ),
  warmup: field(
    "--warmup <n>",
    integer(0).optional(),
    "requests before the first stage that do not count (default: 2, or 20 with --caches primed)",
  ),
  seed: field("--seed <n>", integer(0).default(1), "seed of the prompts"),
  pricePerHour: field(
    "--price-per-hour <n>",
    real(0, 1e6).optional(),
    "what an hour of the server costs, for the cost of a million tokens",
  ),
  out: field(
    "--out <folder>",
    z.string().optional(),
    "keep bench.json, the raw records of every request, and both in the JSON of vLLM and GuideLLM here",
  ),
  console: field(
    "--console <dialect>",
    oneOf(["table", ...consoleDialects]).default("table"),
    "how stages are printed: in our tables, as the block of vllm bench serve, or as GuideLLM's tables",
  ),
  json: field("--json", z.boolean().default(false), "print the figures as JSON"),
} satisfies Component;
