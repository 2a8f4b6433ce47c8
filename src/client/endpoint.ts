import { MillraceError } from "../base/errors.ts";
import type { TlsTrust } from "./tls-trust.ts";

/** Where an OpenAI-compatible server answers. */
export interface Endpoint {
  /** Base URL without `/v1`, such as http://127.0.0.1:8000. */
  readonly url: string;
  readonly apiKey?: string | undefined;
  /** Sent with every request, over what is sent anyway. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Of an https URL; the well-known certificates without. */
  readonly tls?: TlsTrust | undefined;
}

/**
 * The base URL behind what a user gave, with or without `/v1`. A user or password in it is refused: the URL stands in
 * records and messages. Throws `invalid_option`.
 */
export function endpointUrlOf(given: string, param: string): string {
  const url = URL.canParse(given) ? new URL(given) : null;
  if (url !== null && url.username + url.password !== "") {
    throw new MillraceError(
      "invalid_option",
      `"${withoutUser(given)}" has a user or a password before its @; a URL takes none, as it stands in records and reports. Take it out, and give a key with --api-key, or with millrace bench as --header "Authorization: Basic …".`,
      { param },
    );
  }
  if (url !== null && /^https?:$/.test(url.protocol)) {
    return given.replace(/\/+$/, "").replace(/\/v1$/, "");
  }
  throw new MillraceError(
    "invalid_option",
    `"${withoutUser(given)}" is not a URL. It takes one such as http://127.0.0.1:8000. Correct it.`,
    { param },
  );
}

/** What a URL says without what stands before the last @ of its host, which may be a password with an @ or / of its own. */
function withoutUser(given: string): string {
  return given.replace(/^([a-z]+:\/*)?.*@/i, "$1…@");
}

/** Headers of a JSON request, by lower-case names, so that a user's takes the place of ours however it is written. */
export function headersOf(endpoint: Endpoint): Record<string, string> {
  const given = Object.entries(endpoint.headers ?? {}).map(([name, value]) => [name.toLowerCase(), value]);
  return {
    "content-type": "application/json",
    ...(endpoint.apiKey === undefined ? {} : { authorization: `Bearer ${endpoint.apiKey.trim()}` }),
    ...Object.fromEntries(given),
  };
}
