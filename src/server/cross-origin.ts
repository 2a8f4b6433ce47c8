import { isLoopback } from "./access/api-keys.ts";

/** Which pages of other origins may call the server, and with what; lists of `*` allow all. */
export interface CrossOriginRules {
  /** `loopback` stands for every page that comes from this machine over HTTP. */
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

/** Where keys keep strangers out, all pages may call; else those of this machine. */
export function defaultOrigins(hasKeys: boolean): readonly string[] {
  return hasKeys ? ["*"] : ["loopback"];
}

/** Whether pages of an origin may call. */
export function allowsOrigin(rules: CrossOriginRules, origin: string): boolean {
  return rules.origins.includes("*") || isNamedOrigin(rules, origin);
}

/** Whether they may for a better reason than that all may. */
export function isNamedOrigin({ origins }: CrossOriginRules, origin: string): boolean {
  return origins.includes(origin) || (origins.includes("loopback") && isLoopbackOrigin(origin));
}

function isLoopbackOrigin(origin: string): boolean {
  if (!URL.canParse(origin)) return false;
  const { protocol, hostname } = new URL(origin);
  return /^https?:$/.test(protocol) && (isLoopback(hostname) || hostname.endsWith(".localhost"));
}

const rateHeaders = ["limit", "remaining", "reset"].flatMap((what) =>
  ["requests", "tokens"].map((unit) => `x-ratelimit-${what}-${unit}`),
);

/** Headers of ours that a page may read. */
const exposed = ["x-request-id", "x-millrace-warnings", "retry-after", ...rateHeaders].join(", ");

/** Headers of an answer to a page of this origin; none where it may not call. */
export function crossOriginHeaders(
  rules: CrossOriginRules,
  origin: string | undefined,
): Record<string, string> {
  const { origins, allowsCredentials } = rules;
  const isOpen = origins.includes("*");
  if (!isOpen && (origin === undefined || !allowsOrigin(rules, origin))) return {};
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
