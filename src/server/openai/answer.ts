import { createHash, randomUUID } from "node:crypto";
import { httpStatusOf } from "../../base/errors.ts";
import { version } from "../../base/version.ts";
import type { TextUsage } from "../../text/text-generator.ts";
import { createEventSink, type EventSink } from "../event-sink.ts";
import {
  clientGone,
  disconnectController,
  type HttpContext,
  isClientGone,
  jsonResponse,
} from "../http-context.ts";
import type { ServedModel } from "../served-model.ts";
import type { ServerContext } from "../server-context.ts";
import { errorBody, faultFields } from "./errors.ts";
import type { SamplingBody } from "./schemas.ts";

/** Fields at the top of every answer and chunk. */
export interface AnswerHead {
  readonly id: string;
  readonly object: string;
  /** Unix seconds. */
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
}

export function answerHead(prefix: string, object: string, model: ServedModel): AnswerHead {
  return {
    id: `${prefix}-${randomUUID().replaceAll("-", "")}`,
    object,
    created: Math.floor(Date.now() / 1000),
    model: model.id,
    system_fingerprint: fingerprint(model),
  };
}

/** Names what the bytes of an answer depend on besides the request: program, model and numeric form. */
function fingerprint(model: ServedModel): string {
  const { architecture, dtype, activations, attentionDtype, kvDtype, backend, isa } = model.client.info;
  const parts = [model.id, architecture, dtype, activations, attentionDtype, kvDtype, backend, isa];
  const hash = createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, 8);
  return `millrace-${version}-${hash}`;
}

export interface UsageBody {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: { readonly cached_tokens: number };
}

/**
 * Adds up a request's tokens; choices of one prompt share it, so it counts once.
 *
 * @param bySequence usage of each sequence so far, in order
 * @param n sequences per prompt
 */
export function sumUsage(
  promptTokens: readonly number[],
  bySequence: readonly TextUsage[],
  n: number,
): UsageBody {
  let prompt = 0;
  let completion = 0;
  let cached = 0;
  for (const count of promptTokens) prompt += count;
  for (const [index, usage] of bySequence.entries()) {
    completion += usage.completionTokens;
    if (index % n === 0) cached += usage.cachedTokens;
  }
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: cached },
  };
}

/** How a request wants its answer. */
export interface Delivery {
  readonly isStream: boolean;
  readonly includeUsage: boolean;
  readonly continuousUsage: boolean;
  readonly returnTokenIds: boolean;
  /** Whether the answer tells the life of its sequences. */
  readonly explains: boolean;
}

export function deliveryOf(body: SamplingBody): Delivery {
  return {
    isStream: body.stream ?? false,
    includeUsage: body.stream_options?.include_usage ?? false,
    continuousUsage: body.stream_options?.continuous_usage_stats ?? false,
    returnTokenIds: body.return_token_ids ?? false,
    explains: body.explain ?? false,
  };
}

/** The two forms of an answer to one request. Both end when the signal is aborted. */
export interface AnswerForms {
  /** The whole answer's body. */
  whole(signal: AbortSignal): Promise<unknown>;
  /** Sends every chunk, without the closing `[DONE]`. */
  stream(signal: AbortSignal, sink: EventSink): Promise<void>;
}

/**
 * Runs a request in the form it wants. The client's disconnect and a server's forced end abort it. An error before
 * the first chunk has its own status; a later one is sent as a chunk, followed by `[DONE]`.
 */
export async function deliver(
  c: HttpContext,
  context: ServerContext,
  isStream: boolean,
  forms: AnswerForms,
): Promise<Response> {
  const controller = disconnectController(c);
  const { signal } = controller;
  if (!isStream) {
    const body = await context.whileOpen(controller, () => forms.whole(signal));
    if (isClientGone(signal)) throw signal.reason;
    return jsonResponse(c, body);
  }
  const sink = createEventSink(c, () => controller.abort(clientGone()));
  const streaming = context.whileOpen(controller, async () => {
    try {
      await forms.stream(signal, sink);
    } catch (error) {
      if (!sink.isOpen) throw error;
      if (httpStatusOf(error) === 500) context.logger.error("A stream failed.", faultFields(error));
      sink.send(JSON.stringify(errorBody(error)));
    }
    sink.send("[DONE]");
    sink.end();
  });
  await Promise.race([sink.opened, streaming]);
  // From here on every error of the stream has been sent to the client.
  return sink.response;
}
