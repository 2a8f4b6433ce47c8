/** What became of a request that brought no whole answer. */
export const failureKinds = [
  /** No connection: nobody listens, the name is unknown, the network is not there. */
  "connect",
  /** A connection that is not encrypted as asked, or a certificate that is not trusted. */
  "tls",
  /** No answer, or no further part of one, for as long as the client was told to wait. */
  "timeout",
  /** The connection ended in mid-answer. */
  "broken",
  /** HTTP 429 or 503: the server is full and says so. */
  "overloaded",
  /** Any other HTTP status than 200. */
  "http",
  /** An error event in a stream that began well. */
  "in-stream",
  /** No HTTP, events that are no JSON or not of the API's form, no end mark, no token, no end. */
  "malformed",
  /** In flight when the client stopped: neither good nor bad. */
  "censored",
] as const;
export type FailureKind = (typeof failureKinds)[number];
