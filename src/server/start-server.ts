import { createHash } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { MillraceError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import { version } from "../base/version.ts";
import { createServerApp } from "./app.ts";
import { ApiKeys, checkBind } from "./auth.ts";
import { ServerMetrics } from "./metrics.ts";
import { ModelRegistry, type ServedModel } from "./served-model.ts";
import { StatsLog } from "./stats-log.ts";

export interface ServerOptions {
  readonly host: string;
  /** 0 takes a free port. */
  readonly port: number;
  readonly apiKeys: readonly string[];
  readonly isInsecure: boolean;
  readonly isStrict: boolean;
  readonly maxBodyBytes: number;
  readonly logger: Logger;
}

export interface RunningServer {
  readonly url: string;
  readonly port: number;
  /** From now on requests are answered; before, they get 503. */
  setReady(models: readonly ServedModel[]): void;
  /** Refuses new requests and resolves when the open ones are done, or when the time is over. */
  drain(timeoutMs: number): Promise<void>;
  /** Closes the socket and every connection at once. */
  close(): Promise<void>;
}

/**
 * Binds first, so that a taken port is known before a model is loaded.
 * Errors: `port_in_use`, `insecure_bind`.
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  checkBind(options.host, options.apiKeys.length > 0, options.isInsecure);
  const models = new ModelRegistry();
  const fingerprint = `millrace-${version}-${createHash("sha256").update(`${process.pid}${Date.now()}`).digest("hex").slice(0, 8)}`;
  const metrics = new ServerMetrics(models);
  const app = createServerApp({
    context: { models, metrics, logger: options.logger, isStrict: options.isStrict, fingerprint },
    keys: new ApiKeys(options.apiKeys),
    maxBodyBytes: options.maxBodyBytes,
  });
  const server = createServer(getRequestListener(app.fetch, { overrideGlobalObjects: false }));
  // Streams may pause for as long as a prompt takes.
  server.requestTimeout = 0;
  const port = await listen(server, options);
  const statsLog = new StatsLog(models, options.logger);
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  return {
    url: `http://${host}:${port}`,
    port,
    setReady: (served) => models.setReady(served),
    drain: (timeoutMs) => drain(server, models, timeoutMs),
    close: () => {
      statsLog.stop();
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeAllConnections();
      return closed;
    },
  };
}

function listen(server: Server, options: ServerOptions): Promise<number> {
  const { host, port } = options;
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const reason = error.code === "EADDRINUSE" ? "is taken by another process" : `cannot be used (${error.message})`;
      reject(
        new MillraceError(
          "port_in_use",
          `${host}:${port} ${reason}. Choose another --port (0 takes a free one), or stop the process that holds it.`,
          { cause: error, param: "--port" },
        ),
      );
    });
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
  });
}

async function drain(server: Server, models: ModelRegistry, timeoutMs: number): Promise<void> {
  models.startDraining();
  const idle = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeIdleConnections();
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  // A connection that turns idle after its answer must not hold the drain.
  const sweep = setInterval(() => server.closeIdleConnections(), 50);
  await Promise.race([idle, timeout]);
  clearInterval(sweep);
  clearTimeout(timer);
}
