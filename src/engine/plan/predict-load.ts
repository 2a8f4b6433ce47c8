import type { StepShape } from "../profile/step-batch.ts";

/** Requests of one length, a number of them in flight; each is followed by the next. */
export interface PlannedLoad {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly concurrency: number;
}

export interface PredictedLoad extends PlannedLoad {
  /** Output tokens of all requests per second, prefill included: what `millrace bench` reports. */
  readonly outputTokensPerSecond: number;
  /** Of a request that finds the engine idle. */
  readonly ttftMs: number;
  /** Time between two tokens while nothing is prefilled. */
  readonly itlMs: number;
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
  /** Most sequences of a step; more in flight wait for a place. */
  readonly maxNumSeqs: number;
}

/** So many steps of a shape, or of shapes that take as long on average. */
interface RepeatedStep {
  readonly shape: StepShape;
  readonly times: number;
}

/** What a load has to be computed by. */
export interface LoadSteps {
  /** In the middle of the answers. */
  readonly decode: StepShape;
  /** Of one prompt that finds the engine idle, and of all that are in a step together. */
  readonly firstPrefill: readonly RepeatedStep[];
  readonly prefill: readonly RepeatedStep[];
}

/**
 * The steps of a load. All requests in flight begin together, as they do in a closed loop of equal lengths: their prompts
 * are prefilled in steps of at most `maxNumBatchedTokens`, then they decode. Those beyond `maxNumSeqs` wait and take the
 * place of the ones that end.
 */
export function stepsOfLoad(limits: StepLimits, load: PlannedLoad): LoadSteps {
  const { inputTokens, outputTokens, concurrency } = load;
  const numSequences = Math.min(concurrency, limits.maxNumSeqs);
  const contextLength = inputTokens + Math.ceil(outputTokens / 2);
  return {
    decode: stepShape(numSequences, 1, contextLength),
    firstPrefill: prefillSteps(limits, inputTokens, 1),
    prefill: prefillSteps(limits, inputTokens, numSequences),
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
  ].filter(({ shape, times }) => times > 0 && shape.numSequences > 0);
}

/**
 * The chunks of prompts of one length, `times` over. Full ones take longer one by one by equal amounts, as only their
 * context grows: the first and the last stand for all.
 */
function chunks(most: number, inputTokens: number, numSequences: number, times: number): RepeatedStep[] {
  const size = Math.min(most, inputTokens);
  const numFull = Math.floor(inputTokens / size);
  const rest = inputTokens % size;
  const full = [...new Set([size, numFull * size])];
  return [
    ...full.map((context) => ({
      shape: stepShape(numSequences, size, context),
      times: (times * numFull) / full.length,
    })),
    { shape: stepShape(numSequences, rest, inputTokens), times: rest === 0 ? 0 : times },
  ];
}

function stepShape(numSequences: number, numTokens: number, contextLength: number): StepShape {
  const label = `${numSequences} x ${numTokens} tokens, context ${contextLength}`;
  return { label, numSequences, numTokens, contextLength };
}

/** Every shape of some loads once. */
export function shapesOf(loads: readonly LoadSteps[]): StepShape[] {
  const all = loads.flatMap(({ decode, firstPrefill, prefill }) => [
    decode,
    ...[...firstPrefill, ...prefill].map(({ shape }) => shape),
  ]);
  return [...new Map(all.map((shape) => [shape.label, shape])).values()];
}

/** Foresees a load from what its steps take. @param secondsOf of a step of a shape, by the shape's label */
export function predictLoad(
  load: PlannedLoad,
  steps: LoadSteps,
  secondsOf: ReadonlyMap<string, number>,
): PredictedLoad {
  const { outputTokens } = load;
  const { decode, firstPrefill, prefill } = steps;
  const { stepSeconds, tokenSeconds, requestSeconds } = servingCosts;
  const served = ({ label, numSequences }: StepShape): number =>
    secondsOf.get(label)! + stepSeconds + tokenSeconds * numSequences;
  const sum = (list: readonly RepeatedStep[]): number =>
    list.reduce((total, { shape, times }) => total + times * served(shape), 0);
  const decodeSeconds = served(decode);
  const cycle = requestSeconds * decode.numSequences + sum(prefill) + (outputTokens - 1) * decodeSeconds;
  return {
    ...load,
    outputTokensPerSecond: (decode.numSequences * outputTokens) / cycle,
    ttftMs: 1000 * (requestSeconds + sum(firstPrefill)),
    itlMs: 1000 * decodeSeconds,
  };
}
