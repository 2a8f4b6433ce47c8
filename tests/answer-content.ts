import type { EngineOutput } from "../src/protocol/engine-client.ts";

/** What a request was answered, without when and in how many pieces: what must be equal whatever happens around it. */
export function answerContent(outputs: readonly EngineOutput[]): unknown {
  const last = outputs.at(-1);
  return {
    tokenIds: outputs.flatMap(({ newTokenIds }) => [...newTokenIds]),
    logprobs: outputs.flatMap(({ logprobs }) => [...(logprobs ?? [])]),
    finishReason: last?.finishReason,
    stopReason: last?.stopReason,
  };
}
