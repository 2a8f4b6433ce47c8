import { MillraceError } from "../../base/errors.ts";
import type { Answer, Exchange, ServerContext } from "../context.ts";
import type { ChoiceEvent, Generation } from "../generation.ts";
import { SseWriter } from "../sse-writer.ts";
import { errorBodyOf } from "./error-body.ts";

/** Translates the events of a generation into one dialect's objects. */
export interface Dialect {
  /** Chunks of the stream before any token of a choice. */
  opening(): readonly unknown[];
  /** Chunks for one event. */
  chunks(event: ChoiceEvent): readonly unknown[];
  /** Chunks after the last event. */
  closing(): readonly unknown[];
  /** Takes an event into the whole answer. */
  collect(event: ChoiceEvent): void;
  /** The whole answer, when all events were collected. */
  whole(): unknown;
}

export function headersFor(unknownFields: readonly string[]): Record<string, string> {
  if (unknownFields.length === 0) return {};
  const names = unknownFields.map((name) => encodeURIComponent(name)).join(", ");
  return { "x-millrace-warnings": `unknown fields without effect: ${names}`.slice(0, 1000) };
}

/** Runs a generation to its end and answers in one piece. */
export async function answerWhole(
  generation: Generation,
  dialect: Dialect,
  exchange: Exchange,
  headers: Readonly<Record<string, string>>,
): Promise<Answer> {
  const onAbort = (): void => generation.abort();
  exchange.signal.addEventListener("abort", onAbort, { once: true });
  try {
    for await (const event of generation.events()) dialect.collect(event);
  } finally {
    exchange.signal.removeEventListener("abort", onAbort);
  }
  return { kind: "json", body: dialect.whole(), headers };
}

/**
 * Streams a generation. The first event is awaited before the headers go out, so that a refusal at admission is still
 * a plain HTTP error; a fault after that is an `error` event in the stream.
 */
export async function answerStream(
  generation: Generation,
  dialect: Dialect,
  exchange: Exchange,
  options: { readonly headers: Readonly<Record<string, string>>; readonly context: ServerContext },
): Promise<Answer> {
  if (exchange.outgoing === undefined) {
    throw new MillraceError("invalid_request", "Streaming needs a connection.", { param: "stream" });
  }
  const onAbort = (): void => generation.abort();
  exchange.signal.addEventListener("abort", onAbort, { once: true });
  const events = generation.events();
  const first = await events.next();
  const writer = new SseWriter(exchange.outgoing, options.headers);
  const send = (chunks: readonly unknown[]): void => {
    for (const chunk of chunks) writer.send(JSON.stringify(chunk));
  };
  try {
    send(dialect.opening());
    for (let entry = first; entry.done !== true; entry = await events.next()) {
      if (writer.isClosed) break;
      send(dialect.chunks(entry.value));
      const wait = writer.ready();
      if (wait !== undefined) await wait;
    }
    send(dialect.closing());
  } catch (error) {
    options.context.logger.error("a stream failed", { error });
    send([errorBodyOf(error)]);
  } finally {
    exchange.signal.removeEventListener("abort", onAbort);
    await events.return(undefined);
    writer.send("[DONE]");
    writer.end();
  }
  return { kind: "streamed" };
}
