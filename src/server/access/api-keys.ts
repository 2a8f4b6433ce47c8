import { createHash, timingSafeEqual } from "node:crypto";
import { MillraceError } from "../../base/errors.ts";
import { invariant } from "../../base/invariant.ts";
import type { LimitSettings } from "./limits.ts";

/** What a key opens: generation and the like, figures of the server, what changes the server for all. */
export type Scope = "inference" | "metrics" | "admin";

export const scopes: readonly Scope[] = ["inference", "metrics", "admin"];

/** A key as its owner describes it. */
export interface ApiKeyOptions {
  /** Shown in logs and errors in place of the key. */
  readonly name: string;
  /** The key itself, or its SHA-256 digest in hexadecimal. */
  readonly key?: string;
  readonly sha256?: string;
  /** Default: all. */
  readonly scopes?: readonly Scope[];
  readonly limits?: LimitSettings;
  /** The best priority that its requests get: theirs may only be worse, which is a higher number. */
  readonly priority?: number;
  /** Whose share its requests take, whatever they say themselves. */
  readonly tenant?: string;
  /** Keeps its prefix blocks apart from those of others. */
  readonly cacheSalt?: string;
}

/** Who sent a request, as its key tells. */
export type Caller = Omit<ApiKeyOptions, "key" | "sha256">;

/** Of a server without keys. */
const everybody: Caller = { name: "" };

/** The keys of a server, kept as SHA-256 digests and compared in constant time. */
export class ApiKeys {
  readonly #keys: readonly { readonly digest: Buffer; readonly caller: Caller }[];

  /** @param keys none = every request may pass; a text is a key that opens everything */
  constructor(keys: readonly (string | ApiKeyOptions)[]) {
    this.#keys = keys.map((given, at) => {
      const options: ApiKeyOptions = typeof given === "string" ? { name: `#${at + 1}`, key: given } : given;
      const { key, sha256, ...caller } = options;
      const digest = key === undefined ? Buffer.from(sha256 ?? "", "hex") : digestOf(key);
      invariant(digest.length === 32, `the key ${caller.name} is neither a text nor a SHA-256 digest`);
      return { digest, caller };
    });
  }

  /** Whether everybody may pass. */
  get isEmpty(): boolean {
    return this.#keys.length === 0;
  }

  get callers(): readonly Caller[] {
    return this.isEmpty ? [everybody] : this.#keys.map(({ caller }) => caller);
  }

  /**
   * Who the caller is. Errors: `unauthorized` when a key is wanted and the given one is not among them, `forbidden` when
   * it does not open the scope.
   */
  check(given: string | undefined, scope: Scope): Caller {
    if (this.isEmpty) return everybody;
    if (given === undefined) {
      throw new MillraceError(
        "unauthorized",
        "The request has no API key. Send the header `Authorization: Bearer KEY`, or `x-api-key: KEY`.",
      );
    }
    const wanted = digestOf(given.trim());
    // All are compared, so that the time does not tell which one matched.
    const matches = this.#keys.map(({ digest }) => timingSafeEqual(digest, wanted));
    const caller = this.#keys[matches.indexOf(true)]?.caller;
    if (caller === undefined) {
      throw new MillraceError("unauthorized", "The API key is not one of this server's keys.");
    }
    const opened = caller.scopes ?? scopes;
    if (opened.includes(scope)) return caller;
    throw new MillraceError(
      "forbidden",
      `The API key ${caller.name} opens ${opened.join(", ")} and not ${scope}, which this path asks for. ` +
        "Use another key, or give this one the scope in the server's key file.",
    );
  }
}

function digestOf(key: string): Buffer {
  return createHash("sha256").update(key, "utf8").digest();
}

/**
 * Refuses to listen beyond loopback without a key. Errors: `insecure_bind`.
 *
 * @param host address to listen on
 */
export function checkBind(host: string, numKeys: number, isInsecure: boolean): void {
  if (isInsecure || numKeys > 0 || isLoopback(host)) return;
  throw new MillraceError(
    "insecure_bind",
    `The address ${host === "" ? "(all interfaces)" : host} is reachable from other machines and no API key is set. ` +
      "Without a key only loopback addresses such as 127.0.0.1 are allowed. " +
      "Give --api-key or --api-keys-file, or say --insecure if you mean it.",
    { param: "--host" },
  );
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}
