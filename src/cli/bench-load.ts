import path from "node:path";
import type { BenchOptions } from "../bench/bench-options.ts";
import { minRequests, usualWarmup } from "../bench/loads.ts";
import type { RateLoad } from "../bench/open-loop.ts";
import { isSyntheticData, parseDataSpec } from "../bench/workload/data-spec.ts";
import { parsePromptFile } from "../bench/workload/file-workload.ts";
import { endpointUrlOf } from "../client/endpoint.ts";
import type { Values } from "../config/component.ts";
import { parseTrace, type TraceRequest } from "../protocol/request-trace.ts";
import type { benchSettings, loadSettings, rateSettings } from "./bench-settings.ts";
import { readText } from "./read-text.ts";
import { trustOf } from "./trust-settings.ts";

type LoadValues = Values<typeof loadSettings>;
type RateValues = Values<typeof rateSettings>;
type BenchValues = Values<typeof benchSettings>;

/** As common advice for serving benchmarks has it. */
const primingWarmup = 20;
/** Requests of a stage that sends all at once. */
const usualAtOnce = 32;

/** What the flags say of the server and the prompts. Errors: `invalid_option`, `file_not_found`, `invalid_data_file`. */
export function benchOptionsOf(
  url: string,
  load: LoadValues,
  values: BenchValues,
): Omit<BenchOptions, "progress" | "signal" | "lengths"> {
  const {
    model = null,
    apiKey,
    header,
    also,
    vocab = null,
    seed,
    chat,
    caches,
    warmup,
    maxSeconds = null,
  } = values;
  const tls = trustOf(values);
  const endpointAt = (given: string, param: string): BenchOptions["endpoint"] => ({
    url: endpointUrlOf(given, param),
    apiKey,
    headers: header,
    tls,
  });
  const isPrimed = caches === "primed";
  return {
    endpoint: endpointAt(url, "url"),
    moreEndpoints: also.map((each) => endpointAt(each, "--also")),
    model,
    inputTokens: load.inputTokens,
    outputTokens: load.outputTokens,
    ...promptsOf(values.data),
    chat,
    caches,
    numWarmup: warmup ?? (isPrimed ? primingWarmup : usualWarmup),
    seed,
    salt: isPrimed ? null : Date.now() % 2 ** 31,
    vocabSize: vocab,
    continuousUsage: values.continuousUsage,
    extraBody: values.extraBody,
    timeoutMs: values.timeout * 1000,
    readyTimeoutMs: values.readyTimeout * 1000,
    numThreads: values.clientThreads,
    targets: values.goodput,
    maxSeconds,
  };
}

function promptsOf(data: string | undefined): Pick<BenchOptions, "synthetic" | "file"> {
  if (data === undefined) return {};
  if (isSyntheticData(data)) return { synthetic: parseDataSpec(data) };
  const name = path.basename(data);
  // The answers of a file's prompts end by themselves, unless its lines say how long they are.
  return { file: { name, items: parsePromptFile(readText(data), name), outputTokens: null } };
}

/** The stages with due times that the flags ask for, and the lengths of a trace's requests. */
export function ratesOf(
  values: RateValues,
  minSeconds: number,
): { readonly rates: RateLoad[]; readonly lengths: BenchOptions["lengths"] } {
  const { burstiness, maxConcurrency = null, numRequests, rampUpStrategy, traceSpeed } = values;
  const trace = values.trace === undefined ? null : parseTrace(readText(values.trace), values.trace);
  const countAt = (rate: number): number => Math.max(minRequests, Math.ceil(rate * minSeconds));
  const rates = values.requestRate.map((requestRate): RateLoad => {
    const usual = requestRate === Number.POSITIVE_INFINITY ? usualAtOnce : countAt(requestRate);
    return {
      arrivals: { kind: "rate", requestRate, burstiness },
      numRequests: numRequests ?? usual,
      maxConcurrency,
    };
  });
  if (rampUpStrategy !== undefined) {
    const { rampUpStartRps: fromRate, rampUpEndRps: toRate } = values;
    rates.push({
      arrivals: { kind: "ramp", fromRate, toRate, growth: rampUpStrategy, burstiness },
      numRequests: numRequests ?? countAt((fromRate + toRate) / 2),
      maxConcurrency,
    });
  }
  if (trace === null) return { rates, lengths: undefined };
  const taken = trace.slice(0, numRequests);
  rates.push({
    arrivals: {
      kind: "times",
      dueMs: taken.map(({ arrivalMs }) => arrivalMs / traceSpeed),
      name: path.basename(values.trace!),
    },
    numRequests: taken.length,
    maxConcurrency,
  });
  return { rates, lengths: taken.map(lengthsOf) };
}

function lengthsOf({ numPromptTokens, numOutputTokens }: TraceRequest): { input: number; output: number } {
  return { input: Math.max(1, numPromptTokens), output: Math.max(1, numOutputTokens) };
}
