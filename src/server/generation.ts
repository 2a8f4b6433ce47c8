import { randomUUID } from "node:crypto";
import type { SamplingParams } from "../protocol/sampling-params.ts";
import { createTextStream, type TextStream } from "../text/text-generator.ts";
import type { TextDelta } from "../text/text-stream.ts";
import type { RequestObserver, ServerMetrics } from "./metrics.ts";
import type { ServedModel } from "./served-model.ts";

/** One choice of an answer. */
export interface ChoicePlan {
  readonly promptTokenIds: readonly number[];
  readonly sampling: SamplingParams;
  readonly stop: readonly string[];
  readonly includeStopInOutput: boolean;
  readonly skipSpecialTokens: boolean;
}

/** What happened to one choice: the internal event that every dialect translates. */
export interface ChoiceEvent {
  readonly index: number;
  readonly delta: TextDelta;
}

/**
 * The open choices of one HTTP request. `abort` ends them all in the engine; events then run out.
 */
export class Generation {
  readonly #model: ServedModel;
  readonly #streams: readonly TextStream[];
  readonly #requestIds: readonly string[];
  readonly #observers: readonly RequestObserver[];

  constructor(model: ServedModel, choices: readonly ChoicePlan[], metrics: ServerMetrics) {
    const id = randomUUID();
    this.#model = model;
    this.#requestIds = choices.map((_, index) => `${id}-${index}`);
    this.#observers = choices.map((choice) => metrics.observe(model.id, choice));
    this.#streams = choices.map((choice, index) =>
      createTextStream(model.client, model.tokenizer, { requestId: this.#requestIds[index]!, ...choice }),
    );
  }

  abort(): void {
    for (const id of this.#requestIds) this.#model.client.abort(id);
  }

  /** Tokens so far over all choices; choices of one prompt count it once. */
  usage(numChoicesPerPrompt: number): { prompt: number; completion: number; cached: number } {
    const total = { prompt: 0, completion: 0, cached: 0 };
    this.#streams.forEach(({ usage }, index) => {
      total.completion += usage.completionTokens;
      if (index % numChoicesPerPrompt !== 0) return;
      total.prompt += usage.promptTokens;
      total.cached += usage.cachedTokens;
    });
    return total;
  }

  /** Events of all choices as they come. A fault of one choice ends all. */
  async *events(): AsyncGenerator<ChoiceEvent> {
    const iterators = this.#streams.map((stream) => stream[Symbol.asyncIterator]());
    const next = (index: number): Promise<{ index: number; result: IteratorResult<TextDelta> }> =>
      iterators[index]!.next().then((result) => ({ index, result }));
    const pending = new Map(iterators.map((_, index) => [index, next(index)]));
    try {
      while (pending.size > 0) {
        const { index, result } = await Promise.race(pending.values());
        if (result.done === true) {
          pending.delete(index);
          continue;
        }
        pending.set(index, next(index));
        this.#observers[index]!.onDelta(result.value);
        yield { index, delta: result.value };
      }
    } finally {
      this.abort();
      for (const promise of pending.values()) promise.catch(() => undefined);
      for (const observer of this.#observers) observer.onEnd();
    }
  }
}
