import { isIP } from "node:net";
import { MillraceError } from "../../base/errors.ts";
import { allowsOrigin, type CrossOriginRules, isNamedOrigin } from "../cross-origin.ts";
import { shorten } from "../served-model.ts";
import { isLoopback, type Scope } from "./api-keys.ts";

export interface PageGuardOptions {
  /** Address that is listened on. */
  readonly host: string;
  /** Further names in `Host` headers; `*` = any. */
  readonly hosts: readonly string[];
  readonly crossOrigin: CrossOriginRules;
}

/**
 * Keeps web pages away from a server without keys, whom every program on its machine may ask, the browser too.
 *
 * A page of another site sends its origin along, and is refused unless it is allowed. A page whose own name was made to
 * lead here (DNS rebinding) is of the same origin to the browser, but its name is in the `Host` header. Programs send no
 * origin, and address the server by a name that it knows.
 */
export class PageGuard {
  readonly #hosts: readonly string[];
  /** Beyond loopback a server may have any name, so only names that were given are held to. */
  readonly #checksHosts: boolean;
  readonly #crossOrigin: CrossOriginRules;

  constructor({ host, hosts, crossOrigin }: PageGuardOptions) {
    this.#hosts = hosts.map((name) => name.toLowerCase());
    this.#checksHosts = !hosts.includes("*") && (isLoopback(host) || hosts.length > 0);
    this.#crossOrigin = crossOrigin;
  }

  /**
   * Errors: `host_not_allowed`, `origin_not_allowed`.
   *
   * @param host the request's `Host` header
   * @param origin its `Origin`; programs send none
   */
  check(host: string, origin: string | undefined, scope: Scope): void {
    if (this.#checksHosts && !this.#knows(host)) throw unknownHost(host);
    if (origin === undefined || isOriginOf(origin, host)) return;
    // What changes the server is not for every page of the web, also where anyone may ask the model.
    const isAllowed = scope === "admin" ? isNamedOrigin : allowsOrigin;
    if (!isAllowed(this.#crossOrigin, origin)) throw foreignOrigin(origin, scope);
  }

  #knows(host: string): boolean {
    const name = nameOf(host);
    return name !== undefined && (isLocalName(name) || this.#hosts.includes(name));
  }
}

/**
 * Names that no page of the web can have: addresses, which have no name that could be led elsewhere, and names that the
 * public DNS does not give away (RFC 6761; `internal`, by which containers call the machine they run on).
 */
function isLocalName(name: string): boolean {
  return (
    isIP(name.replace(/^\[|\]$/g, "")) !== 0 || /^(.+\.)?localhost$/.test(name) || name.endsWith(".internal")
  );
}

/** `LocalHost.:8000` → `localhost`. */
function nameOf(host: string): string | undefined {
  const url = `http://${host}`;
  return URL.canParse(url) ? new URL(url).hostname.replace(/\.$/, "") : undefined;
}

/** Whether a page comes from this server itself, as `/docs` does. */
function isOriginOf(origin: string, host: string): boolean {
  if (!URL.canParse(origin)) return false;
  const { protocol, host: of } = new URL(origin);
  const own = `${protocol}//${host}`;
  return of !== "" && URL.canParse(own) && new URL(own).host === of;
}

function unknownHost(host: string): MillraceError {
  return new MillraceError(
    "host_not_allowed",
    `The request is for the host ${shorten(host)}. A server without keys on loopback answers to localhost and to ` +
      "addresses, so that no web page can reach it by a name of its own. Use http://127.0.0.1 or http://localhost, or " +
      "start the server with --allowed-hosts or with keys.",
  );
}

function foreignOrigin(origin: string, scope: Scope): MillraceError {
  const admin = scope === "admin" ? " by its name, since this path changes the server" : "";
  return new MillraceError(
    "origin_not_allowed",
    `The request comes from a web page of ${shorten(origin)}, which may not use this server. ` +
      `Start it with --allowed-origins and this origin${admin}, or with keys.`,
  );
}
