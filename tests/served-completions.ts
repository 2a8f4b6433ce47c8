import { createServerApp } from "../src/server/app.ts";
import { ServerContext, type ServerOptions } from "../src/server/server-context.ts";
import { readEvents, type ServedFake } from "./served-fake.ts";

export interface Piece {
  readonly index: number;
  readonly text: string;
  readonly finish_reason: string | null;
  readonly stop_reason: string | number | null;
  readonly token_ids?: number[];
  readonly prompt_token_ids?: number[];
  readonly logprobs: {
    readonly tokens: string[];
    readonly text_offset: number[];
    readonly token_logprobs: (number | null)[];
    readonly top_logprobs: (Record<string, number> | null)[];
  } | null;
}

export interface Answer {
  readonly id: string;
  readonly choices: Piece[];
  readonly usage?: { prompt_tokens: number; completion_tokens: number; total_tokens: number } | null;
  readonly error?: { message: string; param: string; type: string; code: number; reason: string };
}

export interface PostOptions extends ServerOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** Ends the request as a client does that leaves. */
  readonly signal?: AbortSignal;
}

/** `POST /v1/completions` to a server of its own over the scripted engine. */
export async function post(fake: ServedFake, body: object, options: PostOptions = {}): Promise<Response> {
  const { headers = {}, signal = null, ...server } = options;
  const app = createServerApp(new ServerContext({ models: [fake.model], ...server }));
  return app.request("/v1/completions", { method: "POST", body: JSON.stringify(body), headers, signal });
}

export async function complete(fake: ServedFake, body: object, options: PostOptions = {}): Promise<Answer> {
  return (await (await post(fake, body, options)).json()) as Answer;
}

/** The chunks of the streamed answer. */
export async function stream(fake: ServedFake, body: object, options: PostOptions = {}): Promise<Answer[]> {
  const response = await post(fake, { ...body, stream: true }, options);
  const type = response.headers.get("content-type") ?? "";
  if (!type.startsWith("text/event-stream")) throw new Error(`The answer is no stream but ${type}.`);
  return readEvents(await response.text()) as Answer[];
}
