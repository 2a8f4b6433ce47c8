import { type MeasuredStep, medianStep } from "./fit-step-costs.ts";
import { addToShape, emptyShape, numTokensOf, type StepShape } from "./step-cost-model.ts";
import { type ObservedRequest, type ObservedStep, stepsOf } from "./step-timeline.ts";

export interface ObservationOptions {
  /** Steps with more tokens are not used: a prompt may have been computed in several. */
  readonly maxNumBatchedTokens: number;
}

/** Decode steps that are timed together, since single arrivals are late or come with the next. */
const maxWindowSteps = 8;
/** One observation, or two, may be stalls. */
const minObservations = 3;

/**
 * What the steps of an engine took, from one stage of a load test as its client saw it: medians over steps of one kind.
 * Three kinds can be told:
 * - steps in which all draw and no prompt is new, by the number of sequences
 * - steps in which prompts join others that draw, by the number of sequences and new tokens; the engine was busy before,
 *   so the time since the step before is the step's own
 * - first tokens of requests that found the engine idle, by prompt length; that time holds the request's way as well
 *
 * It is taken for granted that nobody else uses the engine, that no prompt shares a beginning with another, and that a
 * sequence draws one token in every step. While a request is open whose tokens are not known, nothing is measured.
 */
export function observeSteps(
  requests: readonly ObservedRequest[],
  options: ObservationOptions,
): MeasuredStep[] {
  const kinds = new Map<string, MeasuredStep[]>();
  const add = (kind: string, step: MeasuredStep): void => {
    const known = kinds.get(kind);
    if (known === undefined) kinds.set(kind, [step]);
    else known.push(step);
  };
  const unknown = requests.filter(({ tokenMs }) => tokenMs.length === 0);
  const isKnown = (ms: number): boolean => unknown.every(({ sentMs, endMs }) => ms < sentMs || ms > endMs);
  const steps = stepsOf(requests).map((step) => (isKnown(step.endMs) ? step : { ...step, draws: [] }));
  for (const step of decodeWindows(steps)) add(`draw ${step.shape.numSequences}`, step);
  for (const step of joins(steps, options)) {
    const { numSequences, numPrefillTokens } = step.shape;
    const drawing = kinds.get(`draw ${numSequences}`);
    // What comes sooner than a step without prompts is an arrival that was late before.
    if (drawing === undefined || step.timeMs > medianStep(drawing).timeMs)
      add(`join ${numSequences} ${numPrefillTokens}`, step);
  }
  for (const step of idleStarts(requests)) add(`start ${step.shape.numPrefillTokens}`, step);
  return [...kinds.values()].filter((kind) => kind.length >= minObservations).map(medianStep);
}

/** Steps that must each say that another was too fast to be true: one may be slow itself. */
const minContradictions = 2;
const tooFast = 0.5;

/**
 * The steps without those that took less than half the time of two smaller ones: their tokens came late before, or were
 * read together with others. A fit of relative errors would bend everything else to them.
 */
export function withoutImpossible(steps: readonly MeasuredStep[]): MeasuredStep[] {
  const contradicts = (other: MeasuredStep, step: MeasuredStep): boolean =>
    !other.isRequest && step.timeMs < tooFast * other.timeMs && isWithin(other.shape, step.shape);
  return steps.filter((step) => steps.filter((other) => contradicts(other, step)).length < minContradictions);
}

function isWithin(smaller: Readonly<StepShape>, larger: Readonly<StepShape>): boolean {
  return (
    smaller.numPrefillTokens <= larger.numPrefillTokens &&
    smaller.numSequences <= larger.numSequences &&
    smaller.numContextTokens <= larger.numContextTokens &&
    smaller.numPrefillPairs <= larger.numPrefillPairs
  );
}

/** Runs of steps in which the same sequences draw; time and shape are those of one step on average. */
function* decodeWindows(steps: readonly ObservedStep[]): Generator<MeasuredStep> {
  let start = 0;
  for (let index = 1; index <= steps.length; index += 1) {
    const isSame = index < steps.length && isContinued(steps[index - 1]!, steps[index]!);
    if (isSame && index - start < maxWindowSteps) continue;
    const end = isSame ? index : index - 1;
    const timeMs = (steps[end]!.endMs - steps[start]!.endMs) / (end - start);
    if (end > start && timeMs > 0)
      yield { shape: shapeOf(steps[start + Math.ceil((end - start) / 2)]!), timeMs, isRequest: false };
    start = index;
  }
}

/** Whether exactly those that drew in one step draw again in the next. */
function isContinued(before: ObservedStep, step: ObservedStep): boolean {
  const { length } = step.draws;
  return length > 0 && before.draws.length === length && step.draws.every(({ index }) => index > 0);
}

function* joins(
  steps: readonly ObservedStep[],
  { maxNumBatchedTokens }: ObservationOptions,
): Generator<MeasuredStep> {
  for (let index = 1; index < steps.length; index += 1) {
    const step = steps[index]!;
    const isBusy = step.draws.some((draw) => draw.index > 0);
    const isJoined = step.draws.some((draw) => draw.index === 0);
    const timeMs = step.endMs - steps[index - 1]!.endMs;
    if (!isBusy || !isJoined || timeMs <= 0) continue;
    const shape = shapeOf(step);
    if (numTokensOf(shape) <= maxNumBatchedTokens) yield { shape, timeMs, isRequest: false };
  }
}

/** Requests that were alone from sending to first token. */
function* idleStarts(requests: readonly ObservedRequest[]): Generator<MeasuredStep> {
  for (const request of requests) {
    const { sentMs, tokenMs, numPromptTokens } = request;
    const [firstMs] = tokenMs;
    if (firstMs === undefined) continue;
    const isAlone = requests.every(
      (other) =>
        other === request || other.sentMs >= firstMs || (other.tokenMs.at(-1) ?? other.endMs) <= sentMs,
    );
    if (!isAlone) continue;
    const shape = emptyShape();
    addToShape(shape, 0, numPromptTokens, numPromptTokens);
    yield { shape, timeMs: firstMs - sentMs, isRequest: true };
  }
}

function shapeOf(step: ObservedStep): StepShape {
  const shape = emptyShape();
  for (const { request, index } of step.draws) {
    const target = request.numPromptTokens + index;
    if (index === 0) addToShape(shape, 0, target, target);
    else addToShape(shape, target - 1, 1, target);
  }
  return shape;
}
