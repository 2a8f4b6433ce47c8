import { isUtf8 } from "node:buffer";
import type { ServerResponse } from "node:http";
import type { Context } from "hono";
import { isMillraceError, MillraceError, messageOf } from "../base/errors.ts";
import { formatBytes } from "../base/units.ts";
import type { Ticket } from "./access/admission.ts";
import type { Caller } from "./access/api-keys.ts";
import { shorten } from "./served-model.ts";

/** What node-server passes along with a request; absent under `app.request()`. */
interface NodeBindings {
  readonly outgoing?: ServerResponse;
}

export interface ServerEnv {
  Bindings: NodeBindings;
  Variables: {
    /** Headers of every answer to this request. */
    headers: Record<string, string>;
    /** Who sent it; absent on paths that are open to all. */
    caller?: Caller;
    /** What it holds of the limits, where its path has any; whoever takes it out must end it. */
    ticket?: Ticket | undefined;
  };
}

export type HttpContext = Context<ServerEnv>;

export function jsonResponse(c: HttpContext, body: unknown, status = 200): Response {
  const headers = { ...c.get("headers"), "content-type": "application/json" };
  return new Response(JSON.stringify(body), { status, headers });
}

/** Node's response behind a request, where there is one. */
export function nodeResponse(c: HttpContext): ServerResponse | undefined {
  return (c.env as NodeBindings | undefined)?.outgoing;
}

/** A controller that is aborted as soon as the client is gone, with `client_disconnected`. */
export function disconnectController(c: HttpContext): AbortController {
  const controller = new AbortController();
  const leave = (): void => controller.abort(clientGone());
  const outgoing = nodeResponse(c);
  if (outgoing === undefined) {
    const { signal } = c.req.raw;
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
    return controller;
  }
  if (outgoing.destroyed) leave();
  else outgoing.once("close", () => !outgoing.writableFinished && leave());
  return controller;
}

/** Why work ends for a client that is not there any more. */
export function clientGone(): MillraceError {
  return new MillraceError("client_disconnected", "The client has left before its answer was complete.");
}

export function isClientGone({ reason }: AbortSignal): boolean {
  return isMillraceError(reason) && reason.code === "client_disconnected";
}

/** Errors: `unsupported_media_type` for a body that is not called JSON. */
export function requireJson(c: HttpContext): void {
  const type = c.req.header("content-type") ?? "";
  if (!hasBody(c) || /^application\/json *(;|$)/i.test(type)) return;
  const seen = type === "" ? "has no content-type" : `is of the type ${shorten(type)}`;
  throw new MillraceError(
    "unsupported_media_type",
    `The body ${seen}; this path takes JSON. Send the header \`content-type: application/json\`.`,
  );
}

/** Node gives every POST a stream, so there the headers tell. */
function hasBody(c: HttpContext): boolean {
  if (nodeResponse(c) === undefined) return c.req.raw.body !== null;
  const length = c.req.header("content-length");
  return length === undefined ? c.req.header("transfer-encoding") !== undefined : Number(length) !== 0;
}

/** Brackets deeper than this are hostile: no request field needs them. */
const maxDepth = 64;

/** Reads the body as a JSON object. Errors: `request_too_large`, `malformed_json`, `invalid_request`. */
export async function readJsonObject(c: HttpContext, maxBytes: number): Promise<Record<string, unknown>> {
  const text = await readText(c, maxBytes);
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch (error) {
    throw malformed(c, text === "" ? "is empty" : `is not valid JSON: ${messageOf(error)}`, error);
  }
  if (typeof body !== "object" || body === null || Array.isArray(body)) {
    const kind = body === null ? "null" : Array.isArray(body) ? "a list" : `a ${typeof body}`;
    throw new MillraceError("invalid_request", `The body is ${kind}. Send a JSON object.`);
  }
  checkDepth(body);
  return body as Record<string, unknown>;
}

async function readText(c: HttpContext, maxBytes: number): Promise<string> {
  const declared = Number(c.req.header("content-length") ?? Number.NaN);
  if (declared > maxBytes) throw tooLarge(maxBytes);
  const { body } = c.req.raw;
  if (body === null) return "";
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    const bytes = chunk as Uint8Array;
    size += bytes.byteLength;
    if (size > maxBytes) throw tooLarge(maxBytes);
    chunks.push(bytes);
  }
  const bytes = Buffer.concat(chunks, size);
  // A replacement character in its place would be another text than the one that was sent.
  if (!isUtf8(bytes)) throw malformed(c, "has bytes that are not UTF-8");
  return bytes.toString("utf8");
}

function malformed(c: HttpContext, fault: string, cause?: unknown): MillraceError {
  const type = c.req.header("content-type") ?? "";
  const hint = /^multipart\//i.test(type) ? " It is a form, as its content-type says." : "";
  return new MillraceError("malformed_json", `The body ${fault}.${hint} Send one JSON object.`, { cause });
}

function tooLarge(maxBytes: number): MillraceError {
  return new MillraceError(
    "request_too_large",
    `The body is larger than this server's limit of ${formatBytes(maxBytes)}. ` +
      "Send a shorter prompt, or start the server with a larger --max-body-size.",
  );
}

/** Walks without recursion, since depth is what it guards against. */
function checkDepth(root: object): void {
  let level: object[] = [root];
  for (let depth = 1; level.length > 0; depth += 1) {
    if (depth > maxDepth) {
      throw new MillraceError(
        "invalid_request",
        `The body nests lists and objects deeper than ${maxDepth} levels. Send a flatter one.`,
      );
    }
    const next: object[] = [];
    for (const value of level) {
      for (const child of Array.isArray(value) ? value : Object.values(value)) {
        if (typeof child === "object" && child !== null) next.push(child as object);
      }
    }
    level = next;
  }
}
