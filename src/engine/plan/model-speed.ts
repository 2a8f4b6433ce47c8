import type { Progress } from "../../base/progress.ts";
import { watchWaiting } from "../../kernels/waiting-share.ts";
import { kvDtypeOf } from "../engine-plan.ts";
import { type ModelMemory, type ModelPlanInput, runningOf } from "./model-memory.ts";
import type { PlannedPrecision } from "./precisions.ts";
import {
  type PlannedStep,
  type PredictedLoad,
  predictLoad,
  stepsOfLoad,
  stepsToTime,
} from "./predict-load.ts";
import type { SampleLimits, StepTiming } from "./step-samples.ts";
import type { TimedModel } from "./time-steps.ts";

/** Null where steps cannot be timed, or not within the limits. */
export type TimeSteps = (
  model: TimedModel,
  steps: readonly PlannedStep[],
  limits: SampleLimits,
) => StepTiming[] | null;

export interface PrecisionSpeed extends PlannedPrecision {
  /** At the fewest and the most in flight; none where the time was over before its turn, or memory too small. */
  readonly loads: readonly PredictedLoad[];
  /** Null also where it would only make the model larger, and no faster as far as is known. */
  readonly command: string | null;
}

/** How fast a model will be, foreseen from steps that were run. */
export interface ModelSpeed {
  readonly loads: readonly PredictedLoad[];
  /** Why there are no loads; null where there are. */
  readonly refusal: string | null;
  readonly precisions: readonly PrecisionSpeed[];
  /** By how much the model's own steps took longer or shorter in the end than in the beginning; null: not timed again. */
  readonly paceDrift: number | null;
  /** Of the time of all steps, the share in which other processes had the processor; null where that is not counted. */
  readonly waitingShare: number | null;
  /** Signs that something else ran meanwhile. With any of them the figures tell little. */
  readonly doubts: readonly string[];
}

/** A plan takes no longer than this, but for the steps that have begun; its own model's steps not all of it. */
const seconds = { all: 45, own: 20, paceCheck: 5 } as const;
const leastSeconds = { own: 4, precision: 0.5 } as const;

/** Of figures that may be told: beyond these somebody else used the machine. */
const most = { spread: 0.25, drift: 0.15, disorder: 0.1, waiting: 0.1 } as const;

const untimed = { paceDrift: null, waitingShare: null, doubts: [] } as const;

export function planSpeed(
  input: ModelPlanInput,
  memory: ModelMemory,
  time: TimeSteps,
  progress: Progress,
): ModelSpeed {
  const { mostRunning, limit } = mostRunningOf(input, memory);
  if (mostRunning === 0) {
    const refusal = `a request of ${input.inputTokens + input.outputTokens} tokens does not fit: ${limit}`;
    return { loads: [], refusal, precisions: withoutSpeeds(memory.precisions), ...untimed };
  }
  const end = performance.now() + 1000 * seconds.all;
  const deadline = performance.now() + 1000 * seconds.own;
  const foresee = new Foresight(input, memory, mostRunning, time);
  const waitingShare = watchWaiting();
  progress.start("Timing steps", memory.precisions.length + 1);
  const now = memory.precisions.find(({ isNow }) => isNow)!;
  const limits = { leastSeconds: leastSeconds.own, deadline, isRequired: true };
  const loads = foresee.loads(now, input.concurrencies, limits);
  // Narrower ones may be small enough where the model as it is is not.
  const precisions = foresee.others(loads, end, progress);
  const paceDrift = loads.length === 0 ? null : foresee.drift(now, loads[0]!, end);
  progress.finish();
  const refusal =
    loads.length > 0 ? null : "a layer and the head would take more than half of the free memory";
  const pace = { paceDrift, waitingShare: waitingShare() };
  return { loads, refusal, precisions, ...pace, doubts: doubtsOf(loads, pace) };
}

/** By what the cache holds of the requests. A model that does not fit is foreseen as though it did. */
function mostRunningOf(
  { inputTokens, outputTokens, options }: ModelPlanInput,
  { engine, blockSize }: ModelMemory,
): { readonly mostRunning: number; readonly limit: string | null } {
  if (engine === null) return { mostRunning: options.maxNumSeqs, limit: null };
  const request = { concurrency: options.maxNumSeqs, contextTokens: inputTokens + outputTokens, blockSize };
  const { numRunning, limit } = runningOf(request, engine, options);
  return { mostRunning: numRunning, limit };
}

/** Times one model after the other for the loads of a plan. */
class Foresight {
  readonly #input: ModelPlanInput;
  readonly #memory: ModelMemory;
  readonly #mostRunning: number;
  readonly #time: TimeSteps;

  constructor(input: ModelPlanInput, memory: ModelMemory, mostRunning: number, time: TimeSteps) {
    this.#input = input;
    this.#memory = memory;
    this.#mostRunning = mostRunning;
    this.#time = time;
  }

  loads(
    precision: PlannedPrecision,
    concurrencies: readonly number[],
    limits: SampleLimits,
  ): PredictedLoad[] {
    const { inputTokens, outputTokens, options } = this.#input;
    const { maxNumBatchedTokens } = options;
    const loads = concurrencies.map((concurrency) => ({ inputTokens, outputTokens, concurrency }));
    const cut = { maxNumBatchedTokens, mostRunning: this.#mostRunning };
    const stepsOf = loads.map((load) => stepsOfLoad(cut, load));
    const steps = stepsToTime(stepsOf);
    const timings = this.#time(this.#timedModel(precision), steps, limits);
    if (timings === null) return [];
    return loads.map((load, index) => predictLoad(load, stepsOf[index]!, steps, timings));
  }

  /** From narrow to wide: what is small and fast is what a reader looks for first, should the time not be enough. */
  others(own: readonly PredictedLoad[], deadline: number, progress: Progress): PrecisionSpeed[] {
    const ends = [...new Set([this.#input.concurrencies[0]!, this.#input.concurrencies.at(-1)!])];
    const limits = { leastSeconds: leastSeconds.precision, deadline, isRequired: false };
    const ownEnds = own.filter(({ concurrency }) => ends.includes(concurrency));
    const narrowFirst = this.#memory.precisions.toReversed().map((precision, index) => {
      progress.update(1 + index, precision.name);
      return { ...precision, loads: precision.isNow ? ownEnds : this.loads(precision, ends, limits) };
    });
    return withUsefulCommands(narrowFirst.toReversed());
  }

  /** Times the fewest in flight again: a machine that changed its pace gave the models before unlike conditions. */
  drift(now: PlannedPrecision, before: PredictedLoad, end: number): number | null {
    const deadline = end + 1000 * seconds.paceCheck;
    const limits = { leastSeconds: 0, deadline, isRequired: false };
    const [after] = this.loads(now, [before.concurrency], limits);
    return after === undefined ? null : after.itlMs / before.itlMs - 1;
  }

  #timedModel({ planned, recast }: PlannedPrecision): TimedModel {
    const { options, checkpoint } = this.#input;
    const { blockSize } = this.#memory;
    const kvDtype = kvDtypeOf(options, checkpoint.config, planned.activations === "f32");
    return {
      linears: planned.linears,
      recast,
      activations: options.activations,
      kvDtype,
      blockSize,
    };
  }
}

/** Whether the steps of a load were alike enough for its figures to be told. */
export function isSteady({ spread }: PredictedLoad): boolean {
  return spread !== null && spread <= most.spread;
}

export function doubtsOf(
  loads: readonly PredictedLoad[],
  { paceDrift, waitingShare }: Pick<ModelSpeed, "paceDrift" | "waitingShare">,
): string[] {
  const doubts: string[] = [];
  const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;
  if (loads.some(({ spread }) => spread === null)) doubts.push("there was no time to repeat each step");
  const spread = Math.max(0, ...loads.map((load) => load.spread ?? 0));
  if (spread > most.spread) doubts.push(`equal steps differed by ${percent(spread)}`);
  for (const [index, more] of loads.entries()) {
    const fewer = loads[index - 1];
    if (fewer === undefined || fewer.itlMs <= (1 + most.disorder) * more.itlMs) continue;
    doubts.push(`steps of ${fewer.numRunning} in flight took longer than those of ${more.numRunning}`);
  }
  if (paceDrift !== null && Math.abs(paceDrift) > most.drift) {
    doubts.push(
      `the same steps took ${percent(Math.abs(paceDrift))} ${paceDrift > 0 ? "longer" : "shorter"} in the end`,
    );
  }
  if (waitingShare !== null && waitingShare > most.waiting) {
    doubts.push(`others had the processor for ${percent(waitingShare)} of the time`);
  }
  return doubts;
}

export function withoutSpeeds(precisions: readonly PlannedPrecision[]): PrecisionSpeed[] {
  return withUsefulCommands(precisions.map((precision) => ({ ...precision, loads: [] })));
}

function withUsefulCommands(precisions: readonly PrecisionSpeed[]): PrecisionSpeed[] {
  const now = precisions.find(({ isNow }) => isNow)!;
  const isFaster = ({ loads }: PrecisionSpeed): boolean =>
    now.loads.some((own) => {
      const load = loads.find(({ concurrency }) => concurrency === own.concurrency);
      return load !== undefined && load.outputTokensPerSecond > own.outputTokensPerSecond;
    });
  return precisions.map((precision) => {
    const isUseful = precision.weightBytes < now.weightBytes || isFaster(precision);
    return isUseful ? precision : { ...precision, command: null };
  });
}
