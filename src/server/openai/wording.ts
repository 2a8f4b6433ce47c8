import { createHash } from "node:crypto";
import { version } from "../../base/version.ts";
import type { TextUsage } from "../../text/text-generator.ts";
import type { Request, Totals, Wording } from "../generation/dialect.ts";
import type { StreamEvent } from "../generation/event-sink.ts";
import type { SequenceEvent } from "../generation/run-sequences.ts";
import type { SamplingBody } from "../request/schemas.ts";
import type { ServedModel } from "../served-model.ts";
import { snakeCased } from "../snake-case.ts";
import { errorBody } from "./errors.ts";
import { type PromptLogprobsBody, promptLogprobsBody } from "./logprobs.ts";

/** `object` of the whole answer and of a chunk. */
export interface ObjectNames {
  readonly whole: string;
  readonly chunk: string;
}

/** What chat and completions share: the fields at the top of every answer and chunk, and `[DONE]`. */
export abstract class OpenAiWording<B extends SamplingBody, C extends object> implements Wording<C> {
  protected readonly request: Request<B>;
  /** Fields at the top of the whole answer and of each chunk. */
  readonly #heads: { readonly [name in keyof ObjectNames]: object };

  constructor(request: Request<B>, objects: ObjectNames) {
    this.request = request;
    const { id, model } = request;
    // Unix seconds.
    const created = Math.floor(Date.now() / 1000);
    const rest = { created, model: model.id, system_fingerprint: fingerprint(model) };
    this.#heads = {
      whole: { id, object: objects.whole, ...rest },
      chunk: { id, object: objects.chunk, ...rest },
    };
  }

  abstract chunks(event: SequenceEvent): readonly C[];
  abstract add(chunk: C): void;
  /** Tokens of the answer that are reasoning; null where it has no such part. */
  protected numReasoningTokens(): number | null {
    return null;
  }

  /** The whole answer's own fields. */
  protected abstract choices(promptLogprobs: readonly PromptLogprobsBody[] | null): object;

  whole({ usage, promptLogprobs, traces }: Totals): object {
    const { tokenizer } = this.request.model;
    const scores = promptLogprobs?.map((tokens) => promptLogprobsBody(tokenizer, tokens)) ?? null;
    const answer = { ...this.choices(scores), usage: this.#lastUsage(usage), ...this.#explanation(traces) };
    return { ...this.#heads.whole, ...answer };
  }

  event(chunk: C, totals: () => Totals): StreamEvent {
    const { includeUsage, continuousUsage } = this.request.delivery;
    const usage = continuousUsage
      ? { usage: usageBody(totals().usage) }
      : includeUsage
        ? { usage: null }
        : {};
    return { data: { ...this.#heads.chunk, ...chunk, ...usage } };
  }

  closing({ usage, traces }: Totals): StreamEvent[] {
    const { includeUsage } = this.request.delivery;
    const last = { ...(includeUsage ? { usage: this.#lastUsage(usage) } : {}), ...this.#explanation(traces) };
    if (Object.keys(last).length === 0) return [done];
    return [{ data: { ...this.#heads.chunk, choices: [], ...last } }, done];
  }

  failure(error: unknown): StreamEvent[] {
    return [{ data: errorBody(error) }, done];
  }

  #lastUsage(usage: TextUsage): object {
    const count = this.numReasoningTokens();
    const details = count === null ? {} : { completion_tokens_details: { reasoning_tokens: count } };
    return { ...usageBody(usage), ...details };
  }

  /** The fields of `RequestTrace` in the wire's spelling, with the choice's index. */
  #explanation(traces: Totals["traces"]): { readonly explain?: readonly object[] } {
    if (!this.request.delivery.explains) return {};
    return { explain: traces.map(({ index, trace }) => ({ index, ...(snakeCased(trace) as object) })) };
  }
}

const done: StreamEvent = { data: "[DONE]" };

/** Names what the bytes of an answer depend on besides the request: program, model and numeric form. */
function fingerprint(model: ServedModel): string {
  const { architecture, dtype, activations, attentionDtype, kvDtype, backend, isa } = model.client.info;
  const parts = [model.id, architecture, dtype, activations, attentionDtype, kvDtype, backend, isa];
  const hash = createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 8);
  return `millrace-${version}-${hash}`;
}

function usageBody({ promptTokens, completionTokens, cachedTokens }: TextUsage): object {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}
