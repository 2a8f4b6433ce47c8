/** Whose words an error is told in. */
export type RouteDialect = "openai" | "anthropic";

export interface Route {
  readonly method: "GET" | "POST";
  readonly path: string;
  /** Probes and scrapers have no key. */
  readonly isOpen?: boolean;
  /** Only with --dev-endpoints: shows or changes what concerns all clients. */
  readonly isDev?: boolean;
  /** Default: openai. */
  readonly dialect?: RouteDialect;
}

export type RouteName = keyof typeof routes;

/** What the server answers. Apart from its handlers, so that a help page need not load the server. */
export const routes = {
  chat: { method: "POST", path: "/v1/chat/completions" },
  completions: { method: "POST", path: "/v1/completions" },
  responses: { method: "POST", path: "/v1/responses" },
  messages: { method: "POST", path: "/v1/messages", dialect: "anthropic" },
  countTokens: { method: "POST", path: "/v1/messages/count_tokens", dialect: "anthropic" },
  embeddings: { method: "POST", path: "/v1/embeddings" },
  models: { method: "GET", path: "/v1/models" },
  model: { method: "GET", path: "/v1/models/:id{.+}" },
  tokenize: { method: "POST", path: "/tokenize" },
  detokenize: { method: "POST", path: "/detokenize" },
  tokenizerInfo: { method: "GET", path: "/tokenizer_info" },
  health: { method: "GET", path: "/health", isOpen: true },
  ready: { method: "GET", path: "/ready", isOpen: true },
  live: { method: "GET", path: "/live", isOpen: true },
  version: { method: "GET", path: "/version", isOpen: true },
  metrics: { method: "GET", path: "/metrics", isOpen: true },
  resetPrefixCache: { method: "POST", path: "/reset_prefix_cache", isDev: true },
  steps: { method: "GET", path: "/debug/steps", isDev: true },
  requests: { method: "GET", path: "/debug/requests", isDev: true },
} as const satisfies Readonly<Record<string, Route>>;

/** Method and path of every usual route, such as `GET /v1/models/{id}`. */
export const endpoints: readonly string[] = Object.values<Route>(routes)
  .filter(({ isDev }) => isDev !== true)
  .map(({ method, path }) => `${method} ${shownPath(path)}`);

/** `/v1/models/:id{.+}` → `/v1/models/{id}`. */
export function shownPath(path: string): string {
  return path.replace(/:(\w+)\{.*/, "{$1}");
}
