import { createServer, type RequestListener, type Server } from "node:http";
import { MillraceError, messageOf } from "../base/errors.ts";
import { answerPlainHttp } from "./plain-http.ts";

/** Certificate and private key in PEM, and whose certificates clients must show. */
export interface TlsOptions {
  readonly cert: string;
  readonly key: string;
  /** Authorities of client certificates; without them none are asked for. */
  readonly clientAuthorities?: string;
}

export interface HttpServerOptions {
  readonly tls?: TlsOptions;
  /** As in `ServerOptions`; also the time for the rest of an answer that is complete. */
  readonly clientTimeoutMs?: number;
}

export const defaultClientTimeoutMs = 120_000;
/** Longer than a load generator's pause between two requests on one connection. */
const keepAliveTimeoutMs = 75_000;
/** Headers are small: whoever needs longer is dripping them. */
const maxHeadersTimeoutMs = 15_000;
const maxHeaderBytes = 32 * 1024;
const maxHeaders = 200;
/** Node looks for late clients this often. */
const checkIntervalMs = 2_000;
/** Peers that vanished without a word are found by TCP itself. */
const tcpKeepAliveMs = 30_000;

/** A server of Node with the limits that a client on the other side has to keep. Errors: `invalid_option` for a certificate that cannot be used. */
export async function createHttpServer(
  listener: RequestListener,
  options: HttpServerOptions,
): Promise<Server> {
  const { tls, clientTimeoutMs = defaultClientTimeoutMs } = options;
  const limits = {
    keepAliveTimeout: keepAliveTimeoutMs,
    headersTimeout: Math.min(maxHeadersTimeoutMs, clientTimeoutMs),
    requestTimeout: clientTimeoutMs,
    connectionsCheckingInterval: Math.min(checkIntervalMs, clientTimeoutMs),
    maxHeaderSize: maxHeaderBytes,
    keepAlive: true,
    keepAliveInitialDelay: tcpKeepAliveMs,
  };
  const server =
    tls === undefined ? createServer(limits, listener) : await createTlsServer(limits, tls, listener);
  server.maxHeadersCount = maxHeaders;
  server.on("request", (_, outgoing) => {
    // From here on only the client can hold the answer up.
    outgoing.once("prefinish", () => {
      // A client that left before does not close a second time.
      if (outgoing.destroyed) return;
      const timer = setTimeout(() => outgoing.destroy(), clientTimeoutMs);
      outgoing.once("close", () => clearTimeout(timer));
    });
  });
  return server;
}

async function createTlsServer(limits: object, tls: TlsOptions, listener: RequestListener): Promise<Server> {
  const https = await import("node:https");
  const { cert, key, clientAuthorities: ca } = tls;
  const client = ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: true };
  try {
    const server = https.createServer({ ...limits, cert, key, ...client }, listener);
    answerPlainHttp(server, maxHeadersTimeoutMs);
    return server;
  } catch (error) {
    throw new MillraceError(
      "invalid_option",
      `The certificate and key for TLS cannot be used: ${messageOf(error)}. Give a certificate chain and its private key in PEM.`,
      { param: "--ssl-certfile", cause: error },
    );
  }
}
