import type { StepShape } from "../profile/step-batch.ts";
import { type MachineSpeed, stepSeconds } from "./step-time.ts";
import type { StepPlanner } from "./step-work.ts";

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
export interface ServingCosts {
  /** Of a step: scheduling, messages between threads, waking them. */
  readonly stepSeconds: number;
  /** Of a token: sampling parameters, its text, its event over HTTP, reading that. */
  readonly tokenSeconds: number;
  /** Of a request: from its arrival to the engine, and its first token's way back. */
  readonly requestSeconds: number;
}

/**
 * Between what `node tests/perf/fit-step-time.mjs` finds on the two machines of `stepCosts`: 0.4 ms of a step, 0.16 ms of a
 * token and 5 ms of a request on AMD EPYC, 0 to 0.08, 0.35 to 0.38 and 10 to 12 ms on Intel Xeon.
 */
export const servingCosts: ServingCosts = {
  stepSeconds: 0.1e-3,
  tokenSeconds: 0.28e-3,
  requestSeconds: 8e-3,
};

/** Whose steps, on which machine, cut how. */
export interface LoadContext {
  readonly planner: StepPlanner;
  readonly speed: MachineSpeed;
  readonly maxNumBatchedTokens: number;
  /** Most sequences of a step; more in flight wait for a place. */
  readonly maxNumSeqs: number;
}

/**
 * Foresees a load from what its steps have to do and what this machine can do. All requests in flight begin together, as
 * they do in a closed loop of equal lengths: their prompts are prefilled in steps of at most `maxNumBatchedTokens`, then
 * they decode. Those beyond `maxNumSeqs` wait and take the place of the ones that end.
 */
export function predictLoad(context: LoadContext, load: PlannedLoad): PredictedLoad {
  const { inputTokens, outputTokens } = load;
  const numRunning = Math.min(load.concurrency, context.maxNumSeqs);
  const contextLength = inputTokens + Math.ceil(outputTokens / 2);
  const decode = secondsOf(context, { numSequences: numRunning, numTokens: 1, contextLength });
  const prefill = prefillSeconds(context, inputTokens, numRunning);
  const { requestSeconds } = servingCosts;
  const cycle = requestSeconds + prefill + (outputTokens - 1) * decode;
  return {
    ...load,
    outputTokensPerSecond: (numRunning * outputTokens) / cycle,
    ttftMs: 1000 * (requestSeconds + prefillSeconds(context, inputTokens, 1)),
    itlMs: 1000 * decode,
  };
}

/** Several prompts to a step where they fit, a long one in chunks. */
function prefillSeconds(context: LoadContext, inputTokens: number, numPrompts: number): number {
  const perStep = Math.max(1, Math.floor(context.maxNumBatchedTokens / inputTokens));
  const chunk = Math.min(inputTokens, context.maxNumBatchedTokens);
  let seconds = 0;
  for (let left = numPrompts; left > 0; left -= perStep) {
    const numSequences = Math.min(left, perStep);
    for (let start = 0; start < inputTokens; start += chunk) {
      const contextLength = Math.min(start + chunk, inputTokens);
      seconds += secondsOf(context, { numSequences, numTokens: contextLength - start, contextLength });
    }
  }
  return seconds;
}

function secondsOf({ planner, speed }: LoadContext, shape: Omit<StepShape, "label">): number {
  const work = planner.workOf({ label: "", ...shape });
  const beside = servingCosts.stepSeconds + servingCosts.tokenSeconds * shape.numSequences;
  return stepSeconds(work, speed) + beside;
}
