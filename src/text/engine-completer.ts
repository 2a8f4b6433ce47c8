import type { Completer } from "../protocol/completer.ts";
import type { EngineClient } from "../protocol/engine-client.ts";
import { defaultSampling } from "../protocol/sampling-params.ts";
import type { Tokenizer } from "../tokenizer/tokenizer.ts";
import { createTextStream } from "./text-generator.ts";

/** Text from an engine. Special tokens are left out; equal requests give equal texts, also where they are drawn. */
export function createEngineCompleter(client: EngineClient, tokenizer: Tokenizer): Completer {
  let numRequests = 0;
  return {
    async complete(promptTokenIds, { stop, stopTokenIds, maxTokens, temperature, topP, seed }, signal) {
      numRequests += 1;
      const stream = createTextStream(client, tokenizer, {
        requestId: `completion-${numRequests}`,
        promptTokenIds,
        sampling: { ...defaultSampling, maxTokens, temperature, topP, stopTokenIds, seed: BigInt(seed) },
        stop,
        includeStopInOutput: false,
        skipSpecialTokens: true,
      });
      let text = "";
      let finishReason: "stop" | "length" = "length";
      let numCachedTokens = 0;
      for await (const delta of stream) {
        signal?.throwIfAborted();
        text += delta.text;
        if (delta.finishReason === "stop") finishReason = "stop";
        numCachedTokens = stream.usage.cachedTokens;
      }
      return { text, finishReason, numCachedTokens };
    },
  };
}
