import type { Command } from "commander";
import { MillraceError } from "../base/errors.ts";
import { isSyntheticData, parseDataSpec } from "../bench/workload/data-spec.ts";
import type { Values } from "../config/component.ts";
import {
  benchSettings,
  loadSettings,
  rateSettings,
  searchSettings,
  versusSettings,
} from "./bench-settings.ts";
import { refuseIdleFlags, refuseRepeats } from "./contradicting-flags.ts";
import { readGiven } from "./settings.ts";

/** What a load test was told, by the parts of its settings. */
export interface BenchValues {
  readonly load: Values<typeof loadSettings>;
  readonly arrivals: Values<typeof rateSettings>;
  readonly search: Values<typeof searchSettings>;
  readonly versus: Values<typeof versusSettings>;
  readonly values: Values<typeof benchSettings>;
}

/** Flags of a load test that would be passed over in silence. Throws `invalid_option`. */
export function refuseIdleBenchFlags(command: Command, given: BenchValues): void {
  refuseOfOtherKinds(command, given);
  refuseOfOtherLoads(command, given);
  refuseOfStages(command, given);
  refuseOfPrompts(command, given);
  refuseOfServers(command, given);
  const { json } = given.values;
  if (json) {
    const why = "--json prints the figures as JSON. Leave out one of the two.";
    refuseIdleFlags(command, { console: benchSettings.console }, why);
  }
  if (given.search.profile !== undefined && given.arrivals.maxConcurrency === 1) {
    throw new MillraceError(
      "invalid_option",
      "--max-concurrency is 1; a sweep goes from one request at a time to as many as this, so it takes 2 or more. Raise it, or leave it out for 512.",
      { param: "--max-concurrency" },
    );
  }
  refuseRepeats("--concurrency", given.load.concurrency);
  refuseRepeats("--request-rate", given.arrivals.requestRate);
}

/** What fills a stage of one kind does nothing where there is none of it. */
function refuseOfStages(command: Command, { search, arrivals }: BenchValues): void {
  const { requestsPerSeat, minSeconds } = loadSettings;
  const { requestRate, rampUpStrategy, trace, numRequests } = arrivals;
  if (search.slo !== undefined) return;
  if (search.profile !== undefined) {
    const why = "--profile sweep runs every stage for --max-seconds. Give that, or leave it out.";
    refuseIdleFlags(command, { minSeconds }, why);
    return;
  }
  const hasClosed = command.opts()["concurrency"] !== undefined;
  const hasOpen = requestRate.length > 0 || rampUpStrategy !== undefined || trace !== undefined;
  if (!hasOpen) return;
  const closed = "Add --concurrency for a closed loop, or leave it out.";
  if (!hasClosed) {
    refuseIdleFlags(command, { requestsPerSeat }, `every stage is an open loop. ${closed}`);
    const hasRates = rampUpStrategy !== undefined || requestRate.some(Number.isFinite);
    const why = `${hasRates ? "--num-requests says how many requests there are" : "no stage has a rate"}. ${closed}`;
    if (!hasRates || numRequests !== undefined) refuseIdleFlags(command, { minSeconds }, why);
  }
  if (rampUpStrategy !== undefined || requestRate.some(Number.isFinite)) return;
  const why = "no stage has a rate, so there are no gaps to draw. Give --request-rate N, or leave it out.";
  refuseIdleFlags(command, { burstiness: rateSettings.burstiness }, why);
}

/** Prompts have one source. */
function refuseOfPrompts(command: Command, { arrivals, values }: BenchValues): void {
  const { data, chat } = values;
  const { inputTokens, outputTokens } = loadSettings;
  const source = data !== undefined ? "--data" : arrivals.trace !== undefined ? "--trace" : null;
  if (source !== null) {
    const why = `${source} says how long prompts and answers are. Leave it out, or leave out ${source}.`;
    refuseIdleFlags(command, { inputTokens, outputTokens }, why);
  }
  const words = chat
    ? "--chat sends words"
    : data === undefined
      ? null
      : !isSyntheticData(data)
        ? "the prompts are those of the --data file"
        : parseDataSpec(data).turns > 1
          ? "several turns are words"
          : null;
  if (words !== null) refuseIdleFlags(command, { vocab: benchSettings.vocab }, `${words}. Leave it out.`);
}

/** Flags that speak of the same server or the same rounds, and cannot both be followed. */
function refuseOfServers(command: Command, { versus, values }: BenchValues): void {
  const given = readGiven(command, { ...benchSettings, ...versusSettings });
  if (given["apiKey"] !== undefined && "authorization" in values.header) {
    throw new MillraceError(
      "invalid_option",
      "--header Authorization and --api-key both say who asks; a request has one such header. Leave one out.",
      { param: "--header" },
    );
  }
  if (versus.versus === undefined) return;
  if (values.also.length > 0) {
    throw new MillraceError(
      "invalid_option",
      "--also has servers that A and B would share; --versus compares one server with one other. Leave one of the two out.",
      { param: "--also" },
    );
  }
  const { rounds, maxRounds } = versus;
  if (given["maxRounds"] === undefined || rounds <= maxRounds) return;
  throw new MillraceError(
    "invalid_option",
    `--rounds ${rounds} is above --max-rounds ${maxRounds}; the first rounds are part of the most. Lower the first or raise the second.`,
    { param: "--rounds" },
  );
}

/** A search, a comparison and a sweep have flags of their own, and each leaves the others' aside. */
function refuseOfOtherKinds(command: Command, { search, versus }: BenchValues): void {
  const { profile, sweepSize, slo: _slo, ...ofSearch } = searchSettings;
  const { versus: other, ...ofVersus } = versusSettings;
  const { console, pricePerHour } = benchSettings;
  if (search.slo !== undefined) {
    const why = "--slo searches the load by itself and prints a table of its own. Leave out one of the two.";
    refuseIdleFlags(command, { profile, sweepSize, other, ...ofVersus, console, pricePerHour }, why);
    return;
  }
  refuseIdleFlags(command, ofSearch, "only --slo searches a load. Give --slo too, or leave it out.");
  if (versus.versus !== undefined) {
    const why = "--versus compares two servers at one load, in a table of its own. Leave out one of the two.";
    refuseIdleFlags(command, { profile, sweepSize, console, pricePerHour }, why);
    return;
  }
  refuseIdleFlags(command, ofVersus, "only --versus compares servers. Give --versus URL, or leave it out.");
  if (search.profile !== undefined) return;
  refuseIdleFlags(command, { sweepSize }, "only --profile sweep has it. Give that too, or leave it out.");
}

/** What says how requests come counts only where they come so. */
function refuseOfOtherLoads(command: Command, { search, arrivals }: BenchValues): void {
  const { requestRate, burstiness, numRequests, maxConcurrency, rampUpStrategy } = rateSettings;
  const { rampUpStartRps, rampUpEndRps, traceSpeed } = rateSettings;
  const { concurrency, requestsPerSeat } = loadSettings;
  const { slo, profile } = search;
  const hasTrace = arrivals.trace !== undefined;
  if (slo !== undefined || profile !== undefined) {
    const own = slo === undefined ? "--profile sweep" : "--slo";
    const why = `${own} takes loads of its own. Leave out one of the two.`;
    const ramp = { rampUpStrategy, rampUpStartRps, rampUpEndRps };
    refuseIdleFlags(command, { concurrency, requestRate, ...ramp, traceSpeed }, why);
    // So many requests of a trace give their lengths to any load.
    if (!hasTrace) refuseIdleFlags(command, { numRequests }, why);
    if (slo !== undefined) refuseIdleFlags(command, { maxConcurrency }, why);
    if (slo === undefined || search.search === "rate") refuseIdleFlags(command, { requestsPerSeat }, why);
    else
      refuseIdleFlags(
        command,
        { burstiness },
        "--slo searches a closed loop. Add --search rate, or leave it out.",
      );
    return;
  }
  if (arrivals.rampUpStrategy === undefined) {
    const why = "only a ramp has it. Give --ramp-up-strategy too, or leave it out.";
    refuseIdleFlags(command, { rampUpStartRps, rampUpEndRps }, why);
  }
  if (!hasTrace) {
    refuseIdleFlags(command, { traceSpeed }, "only --trace has it. Give --trace FILE too, or leave it out.");
    if (arrivals.requestRate.length > 0 || arrivals.rampUpStrategy !== undefined) return;
    const why = "the load is a closed loop. Give --request-rate too, or leave it out.";
    refuseIdleFlags(command, { burstiness, numRequests, maxConcurrency }, why);
  }
}
