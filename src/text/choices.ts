import { MillraceError } from "../base/errors.ts";
import type { EngineClient } from "../protocol/engine-client.ts";
import type { SamplingParams } from "../protocol/sampling-params.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { createTextStream, type TextStreamRequest, type TextUsage } from "./text-generator.ts";
import type { TextDelta } from "./text-stream.ts";

export interface ChoiceDelta {
  /** Which of the n answers. */
  readonly index: number;
  readonly delta: TextDelta;
}

export interface ChoiceStream extends AsyncIterable<ChoiceDelta> {
  /** Tokens of each answer so far. */
  readonly usage: readonly TextUsage[];
}

/** Sampling of answer `index`: each has its own seed, so that the answers differ and can be repeated one by one. */
export function samplingOfChoice(sampling: SamplingParams, index: number): SamplingParams {
  if (sampling.seed === null || index === 0) return sampling;
  return { ...sampling, seed: BigInt.asUintN(64, sampling.seed + BigInt(index)) };
}

/**
 * Generates n answers to one prompt as n requests of the engine, which shares the prompt's blocks among them. Answer i
 * is what a single request with seed + i gives. Deltas come as they are made, in order within an answer; the stream
 * ends with the last answer. An error, or leaving the loop early, aborts all. Iterate once. Errors: `invalid_request`
 * for greedy answers, which would all be the same.
 */
export function createChoiceStream(
  client: EngineClient,
  tokenizer: Tokenizer,
  request: TextStreamRequest,
  n: number,
): ChoiceStream {
  checkChoices(n, request.sampling);
  const requestIds = Array.from({ length: n }, (_, index) => `${request.requestId}-${index}`);
  const streams = requestIds.map((requestId, index) =>
    createTextStream(client, tokenizer, {
      ...request,
      requestId,
      sampling: samplingOfChoice(request.sampling, index),
    }),
  );
  return {
    get usage(): readonly TextUsage[] {
      return streams.map((stream) => stream.usage);
    },
    [Symbol.asyncIterator]: () => merge(streams, () => requestIds.forEach((id) => client.abort(id))),
  };
}

interface Arrival {
  readonly index: number;
  readonly result: IteratorResult<TextDelta>;
}

async function* merge(
  streams: readonly AsyncIterable<TextDelta>[],
  abortAll: () => void,
): AsyncGenerator<ChoiceDelta> {
  const iterators = streams.map((stream) => stream[Symbol.asyncIterator]());
  const next = async (index: number): Promise<Arrival> => ({
    index,
    result: await iterators[index]!.next(),
  });
  const pending = new Map(iterators.map((_, index) => [index, next(index)]));
  try {
    while (pending.size > 0) {
      const { index, result } = await Promise.race(pending.values());
      if (result.done === true) {
        pending.delete(index);
        continue;
      }
      pending.set(index, next(index));
      yield { index, delta: result.value };
    }
  } finally {
    // A pending `next` would hold up `return`; the abort ends it. Requests that have ended know nothing of it.
    if (pending.size > 0) abortAll();
    await Promise.allSettled(iterators.map(async (iterator) => iterator.return?.()));
  }
}

function checkChoices(n: number, { temperature }: SamplingParams): void {
  const allowed =
    temperature > 0 ? "a whole number from 1" : "1 with temperature 0, since all answers would be equal";
  if (Number.isInteger(n) && n >= 1 && (n === 1 || temperature > 0)) return;
  throw new MillraceError(
    "invalid_request",
    `n is ${n}; it takes ${allowed}. Change n or raise the temperature.`,
    {
      param: "n",
    },
  );
}
