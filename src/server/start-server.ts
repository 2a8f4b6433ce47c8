import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { MillraceError, messageOf } from "../base/errors.ts";
import { checkBind } from "./access/api-keys.ts";
import { createServerApp } from "./app.ts";
import { createHttpServer, type HttpServerOptions } from "./http-server.ts";
import { errorBody } from "./openai/errors.ts";
import type { ModelPool } from "./pool/model-pool.ts";
import type { ServedModel } from "./served-model.ts";
import { ServerContext, type ServerOptions } from "./server-context.ts";

export interface StartServerOptions extends ServerOptions, HttpServerOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Listen beyond loopback without a key. */
  readonly isInsecure?: boolean;
}

export interface RunningServer {
  /** Base address without a path, such as `http://127.0.0.1:8000`. */
  readonly url: string;
  readonly port: number;
  /** Requests that are being answered. */
  readonly numOpenRequests: number;
  /** Gives the server its models; until then it answers 503 `server_not_ready`. */
  setReady(models: readonly ServedModel[], pool?: ModelPool): void;
  /**
   * Refuses new requests with 503, lets open ones finish for `timeoutMs`, aborts the rest and closes. A `close` in
   * between ends it at once.
   */
  drain(timeoutMs: number): Promise<void>;
  /** Aborts open requests and closes. The engine clients stay open: they are their owner's. */
  close(): Promise<void>;
}

/** How long aborted requests get to write their last bytes. */
const abortGraceMs = 2_000;

/** Listens, then returns; models may come later. Errors: `port_in_use`, `insecure_bind`. */
export async function startServer(options: StartServerOptions): Promise<RunningServer> {
  checkBind(options.host, options.apiKeys?.length ?? 0, options.isInsecure ?? false);
  const context = new ServerContext(options);
  const app = createServerApp(context);
  const listener = getRequestListener((request, env) => app.fetch(request, env), {
    // The process may be somebody else's; its globals are not ours to replace.
    overrideGlobalObjects: false,
    errorHandler: refuseUnreadable,
  });
  const server = await createHttpServer((incoming, outgoing) => {
    void listener(incoming, outgoing);
  }, options);
  await listen(server, options);
  const { port } = server.address() as AddressInfo;
  const host =
    options.host.includes(":") && !options.host.startsWith("[") ? `[${options.host}]` : options.host;
  let closing: Promise<void> | null = null;
  const close = (): Promise<void> => {
    closing ??= closeServer(server, context);
    return closing;
  };
  return {
    url: `${options.tls === undefined ? "http" : "https"}://${host}:${port}`,
    port,
    get numOpenRequests(): number {
      return context.numOpenRequests;
    },
    setReady: (models, pool) => context.setReady(models, pool),
    drain: async (timeoutMs) => {
      context.setDraining();
      server.closeIdleConnections();
      await within(timeoutMs, context.idle());
      await close();
    },
    close,
  };
}

function listen(server: Server, { host, port }: StartServerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      reject(
        new MillraceError(
          "port_in_use",
          `Cannot listen on ${host} port ${port}: ${messageOf(error)}. Choose another --port or --host, ` +
            "or stop the process that holds it.",
          { param: "--port", cause: error },
        ),
      );
    });
    server.listen(port, host, resolve);
  });
}

async function closeServer(server: Server, context: ServerContext): Promise<void> {
  context.setDraining();
  context.stop();
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  context.abortOpen();
  await within(abortGraceMs, context.idle());
  server.closeIdleConnections();
  // Answers written in this turn of the event loop still leave before their sockets go.
  await new Promise((resolve) => setImmediate(resolve));
  server.closeAllConnections();
  await closed;
}

async function within(timeoutMs: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  await Promise.race([work, timeout]);
  clearTimeout(timer);
}

/** Requests that cannot even be turned into one: a broken address or host header. */
function refuseUnreadable(error: unknown): Response {
  const known = new MillraceError(
    "invalid_request",
    `The request line or the host header cannot be read: ${messageOf(error)}. Send a valid HTTP request.`,
  );
  return new Response(JSON.stringify(errorBody(known)), {
    status: 400,
    headers: { "content-type": "application/json" },
  });
}
