/** Which pages of other origins may call the server, and with what; lists of `*` allow all. */
export interface CrossOriginRules {
  readonly origins: readonly string[];
  readonly methods: readonly string[];
  readonly headers: readonly string[];
  /** Whether such pages may send cookies and the like; origins are then named, never `*`. */
  readonly allowsCredentials: boolean;
}

export const openToAllOrigins: CrossOriginRules = {
  origins: ["*"],
  methods: ["*"],
  headers: ["*"],
  allowsCredentials: false,
};

const exposed =
  "x-request-id, x-millrace-warnings, retry-after, x-ratelimit-limit-requests, x-ratelimit-remaining-requests, " +
  "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens";

/** Headers of an answer to a page of this origin; none where it may not call. */
export function crossOriginHeaders(
  rules: CrossOriginRules,
  origin: string | undefined,
): Record<string, string> {
  const { origins, allowsCredentials } = rules;
  const isOpen = origins.includes("*");
  if (!isOpen && (origin === undefined || !origins.includes(origin))) return {};
  const isNamed = !isOpen || (allowsCredentials && origin !== undefined);
  return {
    "access-control-allow-origin": isNamed ? origin! : "*",
    "access-control-expose-headers": exposed,
    ...(isNamed ? { vary: "origin" } : {}),
    ...(isNamed && allowsCredentials ? { "access-control-allow-credentials": "true" } : {}),
  };
}

/** Further headers of the answer to `OPTIONS`. */
export function preflightHeaders(rules: CrossOriginRules, asked: string | undefined): Record<string, string> {
  const isOpen = rules.headers.includes("*");
  return {
    "access-control-allow-methods": rules.methods.includes("*")
      ? "GET, POST, OPTIONS"
      : rules.methods.join(", "),
    // A wildcard would leave out the authorization header.
    "access-control-allow-headers": isOpen ? (asked ?? "*") : rules.headers.join(", "),
    "access-control-max-age": "600",
  };
}
