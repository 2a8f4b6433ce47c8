import { sentence } from "../base/sentence.ts";
import { formatBytes, formatDuration } from "../base/units.ts";
import { errorsText, heldBackText, stageName } from "../bench/stage-text.ts";
import type { BenchStage, RateStage } from "../records/bench.ts";

/** Differences of throughput below this are the ramp and the drain of any stage. */
const notableSteady = 0.05;

/** What a reader has to know of a stage beside its row, one sentence each. */
export function stageNotes(stage: BenchStage | RateStage, pricePerHour: number | null): string[] {
  const notes = [
    ...clientNotes(stage),
    ...requestNotes(stage),
    ...goodputNotes(stage),
    ...throughputNotes(stage),
    ...serverNotes(stage),
    ...(pricePerHour === null ? [] : costNotes(stage, pricePerHour)),
  ];
  return notes.map((note) => sentence(`${stageName(stage)}: ${note}`));
}

function clientNotes(stage: BenchStage | RateStage): string[] {
  const { faults } = stage.client;
  return [
    ...(faults.length === 0 ? [] : [`does not count, as ${faults.join(" and ")}`]),
    ...("becameClosed" in stage && stage.becameClosed ? [heldBackText(stage)] : []),
  ];
}

function requestNotes(stage: BenchStage | RateStage): string[] {
  const {
    numErrors,
    numRequests,
    numCensored,
    firstError,
    errorsByKind,
    lengths,
    warmup,
    cachedTokens,
    promptTokens,
  } = stage;
  return [
    ...(numErrors === 0
      ? []
      : [`${numErrors} of ${numRequests} failed (${errorsText(stage)}); the first: ${firstError}`]),
    ...(errorsByKind.overloaded === undefined
      ? []
      : [`the server limits the rate; lower ${loadFlagOf(stage)}`]),
    ...(numCensored === 0
      ? []
      : [`${numCensored} were in flight at the end and count neither as good nor as errors`]),
    ...(lengths.numOff === 0
      ? []
      : [`${lengths.numOff} of ${lengths.numChecked} answers had another length than was asked for`]),
    ...(warmup.numRequests === 0
      ? []
      : [
          `the first ${warmup.numRequests} requests (${formatDuration(warmup.endMs)}) are slower than the rest: warm up with as many`,
        ]),
    ...(cachedTokens === null || cachedTokens <= 0.01 * promptTokens
      ? []
      : [
          `the server had ${((100 * cachedTokens) / promptTokens).toFixed(1)} % of the prompt tokens in its cache`,
        ]),
  ];
}

/** What says how much a stage asks of its server. */
function loadFlagOf(stage: BenchStage | RateStage): string {
  if ("concurrency" in stage) return "--concurrency";
  return stage.requestRate === "inf" ? "--max-concurrency" : "--request-rate";
}

function goodputNotes({ goodput }: BenchStage | RateStage): string[] {
  if (goodput === null) return [];
  const { numGood, numJudged, shareInterval, censoredBounds, requestsPerSecond } = goodput;
  const [low, high] = shareInterval.map((share) => (100 * share).toFixed(0));
  const [worst, best] = censoredBounds.map((share) => (100 * share).toFixed(0));
  const bounds = worst === best ? "" : `; with those cut off, ${worst} to ${best} %`;
  return [
    `goodput ${requestsPerSecond.toFixed(2)} requests/s, ${numGood} of ${numJudged} met all targets (${low} to ${high} %${bounds})`,
  ];
}

function throughputNotes(stage: BenchStage | RateStage): string[] {
  const { offered, completed, steady } = stage.throughput;
  const differs =
    steady !== null &&
    Math.abs(steady.outputTokensPerSecond / completed.outputTokensPerSecond - 1) > notableSteady;
  // In a closed loop nothing is offered that is not asked for: what is short there are errors.
  const short =
    "requestRate" in stage && completed.requestsPerSecond < (1 - notableSteady) * offered.requestsPerSecond;
  return [
    ...(differs
      ? [
          `while the load was at its height (${formatDuration(steady.endMs - steady.startMs)}) ${steady.outputTokensPerSecond.toFixed(1)} output tokens/s`,
        ]
      : []),
    ...(short
      ? [
          `${offered.requestsPerSecond.toFixed(2)} requests/s were offered, ${completed.requestsPerSecond.toFixed(2)} completed`,
        ]
      : []),
  ];
}

function serverNotes({ server, serverProcess }: BenchStage | RateStage): string[] {
  const used =
    serverProcess === null
      ? []
      : [
          `the server used ${serverProcess.cores.toFixed(2)} cores and at most ${formatBytes(serverProcess.peakBytes)}`,
        ];
  return [...used, ...(server?.advice ?? [])];
}

const tokensPriced = 1e6;

function costNotes(stage: BenchStage | RateStage, pricePerHour: number): string[] {
  const { outputTokensPerSecond, totalTokensPerSecond } = stage;
  if (outputTokensPerSecond === 0) return [];
  const cost = (rate: number): string => ((pricePerHour / 3600 / rate) * tokensPriced).toPrecision(3);
  return [
    `a million output tokens cost ${cost(outputTokensPerSecond)}, a million of all tokens ${cost(totalTokensPerSecond)}, at ${pricePerHour} an hour`,
  ];
}
