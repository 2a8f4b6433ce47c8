import { createHash, timingSafeEqual } from "node:crypto";
import { MillraceError } from "../base/errors.ts";

function digest(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

/** Checks bearer tokens in constant time. No keys: everyone may come in. */
export class ApiKeys {
  readonly #digests: readonly Buffer[];

  constructor(keys: readonly string[]) {
    this.#digests = keys.map(digest);
  }

  /** Errors: `unauthorized`. */
  check(authorization: string | undefined): void {
    if (this.#digests.length === 0) return;
    const token = /^Bearer (.+)$/i.exec(authorization ?? "")?.[1] ?? "";
    const given = digest(token);
    if (this.#digests.some((known) => timingSafeEqual(known, given))) return;
    throw new MillraceError(
      "unauthorized",
      "The API key is missing or wrong. Send the header `Authorization: Bearer KEY`.",
    );
  }
}

/** Refuses to listen beyond loopback without a key. Errors: `insecure_bind`. */
export function checkBind(host: string, hasKey: boolean, isInsecure: boolean): void {
  const isLoopback = host === "localhost" || host === "::1" || /^127\./.test(host);
  if (isLoopback || hasKey || isInsecure) return;
  throw new MillraceError(
    "insecure_bind",
    `--host ${host} is reachable from other machines and there is no API key. Give --api-key KEY, or --insecure if you mean it.`,
    { param: "--host" },
  );
}
