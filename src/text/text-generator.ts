import type {
  EngineClient,
  EngineOutput,
  RequestScheduling,
  RequestTrace,
  TokenLogprobs,
} from "../protocol/engine-client.ts";
import type { SamplingParams } from "../protocol/sampling-params.ts";
import type { TokenGrammar } from "../protocol/token-mask-channel.ts";
import type { IncrementalDecoder, Tokenizer } from "../tokenizer/tokenizer.ts";
import { StopMatcher } from "./stop-matcher.ts";
import type { TextDelta } from "./text-stream.ts";

export interface TextStreamRequest {
  /** Unique among open requests. */
  readonly requestId: string;
  readonly promptTokenIds: readonly number[] | Int32Array;
  readonly sampling: SamplingParams;
  /** The answer ends before the first of these; at the one that is completed first. */
  readonly stop: readonly string[];
  /** Keep the stop string, or the text of the end token, in the answer. */
  readonly includeStopInOutput: boolean;
  readonly skipSpecialTokens: boolean;
  readonly scheduling?: RequestScheduling;
  /** What the answer has to follow. */
  readonly grammar?: TokenGrammar | undefined;
  /** Whether the stream is to have a `trace` when it has ended. */
  readonly explain?: boolean;
}

/** Tokens so far; final after the last delta. */
export interface TextUsage {
  readonly promptTokens: number;
  readonly completionTokens: number;
  /** Prompt tokens whose KV came from the cache. */
  readonly cachedTokens: number;
}

export interface TextStream extends AsyncIterable<TextDelta> {
  readonly usage: TextUsage;
  /** After the loop, where the request asked with `explain`; null before, and where an error ended it. */
  readonly trace: RequestTrace | null;
  /** Milliseconds from the request's arrival to its first step; null before its first token. */
  readonly queuedMs: number | null;
}

/**
 * Generates text: runs the request on the engine and turns its tokens into text. The deltas' texts, put together,
 * are the whole answer cut at the stop string, however the tokens cut characters and stop strings. The last delta
 * alone has a `finishReason`. A stop string ends the engine's request; so does leaving the loop early. Iterate once.
 */
export function createTextStream(
  client: EngineClient,
  tokenizer: Tokenizer,
  request: TextStreamRequest,
): TextStream {
  const assembler = new TextAssembler(tokenizer, request);
  const { grammar, ...rest } = request;
  const outputs = client.generate(grammar === undefined ? rest : { ...rest, mask: grammar.open() });
  return {
    get usage(): TextUsage {
      return assembler.usage;
    },
    get trace(): RequestTrace | null {
      return assembler.trace;
    },
    get queuedMs(): number | null {
      return assembler.queuedMs;
    },
    [Symbol.asyncIterator]: () => deltas(outputs, assembler, () => client.abort(request.requestId)),
  };
}

/**
 * Leaving this loop, early or at a stop string, leaves the engine's, which aborts the request there; only where a trace
 * is wanted, the engine's last output is waited for.
 */
async function* deltas(
  outputs: AsyncIterable<EngineOutput>,
  assembler: TextAssembler,
  abort: () => void,
): AsyncGenerator<TextDelta> {
  let isEnded = false;
  for await (const output of outputs) {
    const delta: TextDelta | null = isEnded ? null : assembler.add(output);
    assembler.explain(output);
    if (delta !== null) {
      isEnded = delta.finishReason !== null;
      if (isEnded && output.finishReason === null && assembler.isExplained) abort();
      yield delta;
    }
    if (isEnded && (output.finishReason !== null || !assembler.isExplained)) return;
  }
}

/** The text side of one request: decoder, stop strings, counts. */
class TextAssembler {
  readonly #request: TextStreamRequest;
  readonly #decoder: IncrementalDecoder;
  readonly #matcher: StopMatcher;
  #completionTokens = 0;
  #cachedTokens = 0;
  #queuedMs: number | null = null;
  #isStopString = false;
  #trace: RequestTrace | null = null;

  constructor(tokenizer: Tokenizer, request: TextStreamRequest) {
    this.#request = request;
    this.#decoder = tokenizer.stream({ skipSpecialTokens: request.skipSpecialTokens });
    this.#matcher = new StopMatcher(request.stop, request.includeStopInOutput);
  }

  get usage(): TextUsage {
    return {
      promptTokens: this.#request.promptTokenIds.length,
      completionTokens: this.#completionTokens,
      cachedTokens: this.#cachedTokens,
    };
  }

  get isExplained(): boolean {
    return this.#request.explain === true;
  }

  get trace(): RequestTrace | null {
    return this.#trace;
  }

  get queuedMs(): number | null {
    return this.#queuedMs;
  }

  /** Takes the trace of the engine's last output. What the engine sees as an abort may be a stop string. */
  explain({ trace }: EngineOutput): void {
    if (trace === undefined) return;
    this.#trace = this.#isStopString ? { ...trace, endedBy: "stop_string" } : trace;
  }

  /** Token by token, so that the cut does not depend on how many came at once: those after a stop are dropped. */
  add(output: EngineOutput): TextDelta {
    const { newTokenIds, logprobs, finishReason, stopReason } = output;
    this.#cachedTokens = output.numCachedTokens;
    this.#queuedMs ??= output.queuedMs ?? null;
    let text = "";
    for (const [index, id] of newTokenIds.entries()) {
      this.#completionTokens += 1;
      const isEndToken = finishReason === "stop" && index === newTokenIds.length - 1;
      if (isEndToken && !this.#request.includeStopInOutput) break;
      const matched = this.#match(this.#decoder.push(id));
      text += matched.text;
      if (matched.stop !== null) {
        return this.#delta(text, newTokenIds.slice(0, index + 1), logprobs, {
          reason: "stop",
          by: matched.stop,
        });
      }
    }
    if (finishReason === null) return this.#delta(text, newTokenIds, logprobs, null);
    const rest = this.#match(this.#decoder.flush());
    text += rest.text;
    if (rest.stop !== null)
      return this.#delta(text, newTokenIds, logprobs, { reason: "stop", by: rest.stop });
    text += this.#matcher.flush();
    return this.#delta(text, newTokenIds, logprobs, { reason: finishReason, by: stopReason });
  }

  #match(text: string): { readonly text: string; readonly stop: string | null } {
    const matched = this.#matcher.push(text, this.#completionTokens > this.#request.sampling.minTokens);
    if (matched.stop !== null) this.#isStopString = true;
    return matched;
  }

  #delta(
    text: string,
    tokenIds: readonly number[],
    logprobs: readonly TokenLogprobs[] | null,
    end: { readonly reason: TextDelta["finishReason"]; readonly by: string | number | null } | null,
  ): TextDelta {
    return {
      text,
      tokenIds,
      logprobs: logprobs === null ? null : logprobs.slice(0, tokenIds.length),
      finishReason: end?.reason ?? null,
      stopReason: end?.by ?? null,
    };
  }
}
