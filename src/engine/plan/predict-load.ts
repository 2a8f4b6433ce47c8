import type { StepShape } from "../step/step-batch.ts";
import type { StepTiming } from "./step-samples.ts";

/** Requests of one length, a number of them in flight; each is followed by the next. */
export interface PlannedLoad {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly concurrency: number;
}

export interface PredictedLoad extends PlannedLoad {
  /** Sequences that are computed at once; the others in flight wait for a place. */
  readonly numRunning: number;
  /** Output tokens of all requests per second, prefill included: what `millrace bench` reports. */
  readonly outputTokensPerSecond: number;
  /** The same of one request, from its arrival to its end. */
  readonly outputTokensPerSecondEach: number;
  /** Time between two tokens while nothing is prefilled. */
  readonly itlMs: number;
  /** Of a request that finds the engine idle. */
  readonly ttftAloneMs: number;
  /** Of the last one where all in flight arrive together. */
  readonly ttftLastMs: number;
  /** Of the time, the share that is spent outside of steps: HTTP, messages between threads, the clients. */
  readonly servingShare: number;
  /** The largest relative spread of its steps; null where one could not be timed twice. */
  readonly spread: number | null;
}

/** A step whose time is asked for. */
export interface PlannedStep extends StepShape {
  /** One of many in a row. A prefill may have one token for each sequence too. */
  readonly isDecode: boolean;
}

/** What a server and its clients, on the same machine, take beside the operations of steps. */
interface ServingCosts {
  /** Of a step: scheduling, messages between threads, waking them. */
  readonly stepSeconds: number;
  /** Of a token: sampling parameters, its text, its event over HTTP, reading that. */
  readonly tokenSeconds: number;
  /** Of a request: from its arrival to the engine, its first token's way back, and its client's work. */
  readonly requestSeconds: number;
}

/**
 * What `node tests/perf/plan-vs-real.mjs` shows beyond the steps of SmolLM2-135M, on two cores of an Intel Xeon (Emerald
 * Rapids, 2026-11-29).
 */
const servingCosts: ServingCosts = {
  stepSeconds: 0.05e-3,
  tokenSeconds: 0.15e-3,
  requestSeconds: 8e-3,
};

/** How an engine cuts its steps. */
export interface StepLimits {
  readonly maxNumBatchedTokens: number;
  /** Most sequences that are computed at once; more in flight wait for a place. */
  readonly mostRunning: number;
}

/** So many steps of a shape, or of shapes that take as long on average. */
interface RepeatedStep {
  readonly times: number;
  readonly numSequences: number;
  /** What is timed in their place. */
  readonly timed: PlannedStep;
  /** How many times as long as `timed` they take. */
  readonly scale: number;
}

/** What a load has to be computed by. */
export interface LoadSteps {
  readonly numRunning: number;
  /** In the middle of the answers. */
  readonly decode: RepeatedStep;
  /** Of one prompt that finds the engine idle, and of all that are in a step together. */
  readonly firstPrefill: readonly RepeatedStep[];
  readonly prefill: readonly RepeatedStep[];
}

/**
 * The steps of a load. All requests in flight begin together, as they do in a closed loop of equal lengths: their prompts
 * are prefilled in steps of at most `maxNumBatchedTokens`, then they decode. Those beyond `mostRunning` wait and take the
 * place of the ones that end.
 */
export function stepsOfLoad(limits: StepLimits, load: PlannedLoad): LoadSteps {
  const { inputTokens, outputTokens, concurrency } = load;
  const numRunning = Math.min(concurrency, limits.mostRunning);
  const contextLength = inputTokens + Math.ceil(outputTokens / 2);
  return {
    numRunning,
    decode: repeat(outputTokens - 1, {
      numSequences: numRunning,
      numTokens: 1,
      contextLength,
      isDecode: true,
    }),
    firstPrefill: prefillSteps(limits, inputTokens, 1),
    prefill: prefillSteps(limits, inputTokens, numRunning),
  };
}

/** Several prompts to a step where they fit, a long one in chunks. */
function prefillSteps(
  { maxNumBatchedTokens }: StepLimits,
  inputTokens: number,
  numPrompts: number,
): RepeatedStep[] {
  const perStep = Math.max(1, Math.floor(maxNumBatchedTokens / inputTokens));
  const numFull = Math.floor(numPrompts / perStep);
  const rest = numPrompts % perStep;
  return [
    ...chunks(maxNumBatchedTokens, inputTokens, Math.min(perStep, numPrompts), numFull),
    ...chunks(maxNumBatchedTokens, inputTokens, rest, 1),
  ];
}

/**
 * The chunks of prompts of one length, `times` over. Full ones take longer one by one by equal amounts, as only their
 * context grows: the first and the last stand for all.
 */
function chunks(most: number, inputTokens: number, numSequences: number, times: number): RepeatedStep[] {
  if (times === 0 || numSequences === 0) return [];
  const size = Math.min(most, inputTokens);
  const numFull = Math.floor(inputTokens / size);
  const rest = inputTokens % size;
  const full = [...new Set([size, numFull * size])];
  const chunk = (numTokens: number, contextLength: number): PlannedStep => ({
    numSequences,
    numTokens,
    contextLength,
    isDecode: false,
  });
  return [
    ...full.map((context) => repeat((times * numFull) / full.length, chunk(size, context))),
    ...(rest === 0 ? [] : [repeat(times, chunk(rest, inputTokens))]),
  ];
}

/** What is timed of a step at most: more rows take longer by as many, and would take a plan's whole time. */
const most = { tokens: 1024, sequencesOfDecode: 256, tokensTimesContext: 4 * 1024 ** 2 } as const;

function repeat(times: number, step: PlannedStep): RepeatedStep {
  const { numSequences, numTokens, contextLength, isDecode } = step;
  const rows = Math.min(
    isDecode ? most.sequencesOfDecode : most.tokens,
    most.tokensTimesContext / contextLength,
  );
  const fewer = Math.min(numSequences, Math.max(1, Math.floor(rows / numTokens)));
  const shorter = Math.min(numTokens, Math.max(1, Math.floor(rows / fewer)));
  const timed = { ...step, numSequences: fewer, numTokens: shorter };
  return { times, numSequences, timed, scale: (numSequences * numTokens) / (fewer * shorter) };
}

/** Every step that has to be timed for some loads, once. */
export function stepsToTime(loads: readonly LoadSteps[]): PlannedStep[] {
  const all = loads.flatMap(({ decode, firstPrefill, prefill }) => [decode, ...firstPrefill, ...prefill]);
  const steps: PlannedStep[] = [];
  for (const { timed } of all) if (!steps.some((step) => isSame(step, timed))) steps.push(timed);
  return steps;
}

function isSame(a: PlannedStep, b: PlannedStep): boolean {
  return (
    a.isDecode === b.isDecode &&
    a.numSequences === b.numSequences &&
    a.numTokens === b.numTokens &&
    a.contextLength === b.contextLength
  );
}

/** Foresees a load from what its steps take. @param timings of `steps`, which hold all of the load */
export function predictLoad(
  load: PlannedLoad,
  { numRunning, decode, firstPrefill, prefill }: LoadSteps,
  steps: readonly PlannedStep[],
  timings: readonly StepTiming[],
): PredictedLoad {
  const { outputTokens, concurrency } = load;
  const { stepSeconds, tokenSeconds, requestSeconds } = servingCosts;
  const timingOf = (timed: PlannedStep): StepTiming =>
    timings[steps.findIndex((step) => isSame(step, timed))]!;
  const computed = ({ timed, scale }: RepeatedStep): number => scale * timingOf(timed).seconds;
  const around = ({ numSequences }: RepeatedStep): number => stepSeconds + tokenSeconds * numSequences;
  const sum = (list: readonly RepeatedStep[], seconds: (step: RepeatedStep) => number): number =>
    list.reduce((total, step) => total + step.times * seconds(step), 0);
  const served = (step: RepeatedStep): number => computed(step) + around(step);
  const prefillSeconds = requestSeconds * numRunning + sum(prefill, served);
  const cycle = prefillSeconds + sum([decode], served);
  const rounds = Math.ceil(concurrency / numRunning);
  const outputTokensPerSecond = (numRunning * outputTokens) / cycle;
  return {
    ...load,
    numRunning,
    outputTokensPerSecond,
    outputTokensPerSecondEach: outputTokensPerSecond / concurrency,
    itlMs: 1000 * served(decode),
    ttftAloneMs: 1000 * (requestSeconds + sum(firstPrefill, served)),
    ttftLastMs: 1000 * ((rounds - 1) * cycle + prefillSeconds),
    servingShare: (requestSeconds * numRunning + sum([...prefill, decode], around)) / cycle,
    spread: largestSpread([decode, ...prefill].map(({ timed }) => timingOf(timed))),
  };
}

function largestSpread(timings: readonly StepTiming[]): number | null {
  const spreads = timings.map(({ spread }) => spread);
  return spreads.includes(null) ? null : Math.max(...spreads.map((spread) => spread ?? 0));
}
