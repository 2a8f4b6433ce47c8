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

/** The base URL behind what a user gave, with or without `/v1`. Throws `invalid_option`. */
export function endpointUrlOf(given: string, param: string): string {
  if (URL.canParse(given) && /^https?:$/.test(new URL(given).protocol)) {
    return given.replace(/\/+$/, "").replace(/\/v1$/, "");
  }
  throw new MillraceError(
    "invalid_option",
    `"${given}" is not a URL. It takes one such as http://127.0.0.1:8000. Correct it.`,
    { param },
  );
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
