import { createHash, timingSafeEqual } from "node:crypto";
import { MillraceError } from "../base/errors.ts";

/** The keys of a server, kept as SHA-256 digests and compared in constant time. */
export class ApiKeys {
  readonly #digests: readonly Buffer[];

  /** @param keys none = every request may pass */
  constructor(keys: readonly string[]) {
    this.#digests = keys.map(digest);
  }

  /** Errors: `unauthorized` when a key is wanted and the given one is not among them. */
  check(given: string | undefined): void {
    if (this.#digests.length === 0) return;
    if (given === undefined) {
      throw new MillraceError(
        "unauthorized",
        "The request has no API key. Send the header `Authorization: Bearer KEY`, or `x-api-key: KEY`.",
      );
    }
    const wanted = digest(given.trim());
    // All are compared, so that the time does not tell which one matched.
    const isKnown = this.#digests.map((known) => timingSafeEqual(known, wanted)).includes(true);
    if (!isKnown) throw new MillraceError("unauthorized", "The API key is not one of this server's keys.");
  }
}

function digest(key: string): Buffer {
  return createHash("sha256").update(key, "utf8").digest();
}

/**
 * Refuses to listen beyond loopback without a key. Errors: `insecure_bind`.
 *
 * @param host address to listen on
 */
export function checkBind(host: string, apiKeys: readonly string[], isInsecure: boolean): void {
  if (isInsecure || apiKeys.length > 0 || isLoopback(host)) return;
  throw new MillraceError(
    "insecure_bind",
    `The address ${host === "" ? "(all interfaces)" : host} is reachable from other machines and no API key is set. ` +
      "Without a key only loopback addresses such as 127.0.0.1 are allowed. " +
      "Give --api-key, or say --insecure if you mean it.",
    { param: "--host" },
  );
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}
