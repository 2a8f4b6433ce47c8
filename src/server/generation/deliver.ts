import { httpStatusOf } from "../../base/errors.ts";
import { faultFields } from "../error-response.ts";
import {
  clientGone,
  disconnectController,
  type HttpContext,
  isClientGone,
  jsonResponse,
} from "../http-context.ts";
import type { ServerContext } from "../server-context.ts";
import { createEventSink, type EventSink, type StreamEvent } from "./event-sink.ts";

/** The two forms of an answer to one request. Both end when the signal is aborted. */
export interface AnswerForms {
  /** The whole answer's body. */
  whole(signal: AbortSignal): Promise<unknown>;
  /** Sends every event. */
  stream(signal: AbortSignal, sink: EventSink): Promise<void>;
  /** What a stream ends with where an error comes after its first event. */
  failure(error: unknown): readonly StreamEvent[];
  /** Tokens of prompt and answer so far, as limits count them. */
  numTokens(): number;
}

/**
 * Runs a request in the form it wants. The client's disconnect and a server's forced end abort it. An error before
 * the first event has its own status; a later one is sent as the stream's last events.
 */
export async function deliver(
  c: HttpContext,
  context: ServerContext,
  isStream: boolean,
  forms: AnswerForms,
): Promise<Response> {
  const controller = disconnectController(c);
  const { signal } = controller;
  const ticket = c.get("ticket");
  // A stream goes on after its route has returned.
  c.set("ticket", undefined);
  const whileOpen = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await context.whileOpen(controller, work);
    } finally {
      ticket?.use(forms.numTokens());
      ticket?.end();
    }
  };
  if (!isStream) {
    const body = await whileOpen(() => forms.whole(signal));
    if (isClientGone(signal)) throw signal.reason;
    return jsonResponse(c, body);
  }
  const sink = createEventSink(c, context, () => controller.abort(clientGone()));
  const streaming = whileOpen(async () => {
    try {
      await forms.stream(signal, sink);
    } catch (error) {
      if (!sink.isOpen) {
        sink.discard();
        throw error;
      }
      if (httpStatusOf(error) === 500) context.logger.error("A stream failed.", faultFields(error));
      for (const event of forms.failure(error)) sink.send(event);
    }
    sink.end();
  });
  await Promise.race([sink.opened, streaming]);
  // From here on every error of the stream has been sent to the client.
  return sink.response;
}
