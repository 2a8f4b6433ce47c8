import { messageOf } from "../base/errors.ts";
import type { FailureKind } from "../base/failure-kinds.ts";

const connectCodes = new Set([
  "ECONNREFUSED",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "UND_ERR_CONNECT_TIMEOUT",
  "ECONNTIMEOUT",
]);
const timeoutCodes = new Set(["UND_ERR_HEADERS_TIMEOUT", "UND_ERR_BODY_TIMEOUT", "ETIMEDOUT"]);
/** OpenSSL's reasons come as codes of their own, such as DEPTH_ZERO_SELF_SIGNED_CERT. */
const tlsPattern = /^ERR_(TLS|SSL)|CERT|^EPROTO$|SELF_SIGNED|UNABLE_TO_VERIFY/;

/** Sorts a fault of the transport by its code, which Node, undici or our own connections gave it. */
export function transportFailureKind(error: Error): FailureKind {
  const code = codeOf(error);
  if (connectCodes.has(code)) return "connect";
  if (timeoutCodes.has(code)) return "timeout";
  if (code === "ERR_HTTP_FRAMING") return "malformed";
  return tlsPattern.test(code) ? "tls" : "broken";
}

/** What a fault of the transport says, with what to do where a certificate or TLS itself is at fault. */
export function transportMessage(error: Error): string {
  // OpenSSL's own text ends with the end of a line.
  const message = messageOf(error instanceof AggregateError ? error.errors[0] : error).trimEnd();
  if (transportFailureKind(error) !== "tls") return message;
  return speaksNoTls(error)
    ? `the server does not speak TLS; take http:// (${message})`
    : `its certificate is not trusted: ${message}; --ca FILE says which certificates vouch for it, --insecure takes any`;
}

/** That nothing comes from an address, why, and what to do, which a fault of TLS says itself. */
export function unreachableMessage(url: string, error: Error, advice: string): string {
  const reason = transportMessage(error);
  return transportFailureKind(error) === "tls"
    ? `No answer of ${url} can be read: ${reason}.`
    : `No server answers at ${url} (${reason}). ${advice}`;
}

function speaksNoTls(error: Error): boolean {
  return /^EPROTO$|WRONG_VERSION|PACKET_LENGTH/.test(codeOf(error));
}

/** Sorts an answer that is no stream. */
export function statusFailureKind(status: number): FailureKind {
  return status === 429 || status === 503 ? "overloaded" : "http";
}

function codeOf(error: Error): string {
  const { code } = error as { readonly code?: unknown };
  if (typeof code === "string") return code;
  // A name with several addresses fails as one error for each.
  const inner: unknown = error instanceof AggregateError ? error.errors[0] : error.cause;
  return inner instanceof Error ? codeOf(inner) : "";
}
