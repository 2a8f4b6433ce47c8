import type { PromptUsage } from "../../protocol/completer.ts";
import type { PromptTokens } from "./model-request.ts";

/** Adds up the tokens of the prompts that a model was sent. */
export class PromptTokenCount {
  #total: PromptTokens | undefined = { numSent: 0, numCached: 0 };

  /** Undefined where an answer did not say how long its prompt was. */
  get total(): PromptTokens | undefined {
    return this.#total;
  }

  add({ numPromptTokens, numCachedTokens }: PromptUsage): void {
    const before = this.#total;
    if (before === undefined || numPromptTokens === undefined) {
      this.#total = undefined;
      return;
    }
    const isKnown = before.numCached !== null && numCachedTokens !== undefined;
    this.#total = {
      numSent: before.numSent + numPromptTokens,
      numCached: isKnown ? before.numCached + numCachedTokens : null,
    };
  }

  /** What asks as `ask` does, with its prompts counted. */
  counted<A extends readonly unknown[], R extends PromptUsage>(
    ask: (...args: A) => Promise<R>,
  ): (...args: A) => Promise<R> {
    return async (...args) => {
      const answer = await ask(...args);
      this.add(answer);
      return answer;
    };
  }
}
