import type { Scope } from "./access/api-keys.ts";

/** Whose words an error is told in. */
export type RouteDialect = "openai" | "anthropic";

export interface Route {
  readonly method: "GET" | "POST";
  readonly path: string;
  /** What it answers, for the documents of the API. */
  readonly summary: string;
  /** Probes have no key. */
  readonly isOpen?: boolean;
  /** What its key must open; default: inference. */
  readonly scope?: Scope;
  /** Whether it counts against the limits of its caller. */
  readonly isLimited?: boolean;
  /** Only with --dev-endpoints: shows or changes what concerns all clients. */
  readonly isDev?: boolean;
  /** Default: openai. */
  readonly dialect?: RouteDialect;
}

export type RouteName = keyof typeof routes;

/** What the server answers. Apart from its handlers, so that a help page need not load the server. */
export const routes = {
  chat: {
    method: "POST",
    path: "/v1/chat/completions",
    isLimited: true,
    summary: "answers to a conversation",
  },
  completions: { method: "POST", path: "/v1/completions", isLimited: true, summary: "goes on from a text" },
  responses: {
    method: "POST",
    path: "/v1/responses",
    isLimited: true,
    summary: "answers to a conversation, in the newer form of OpenAI's API; nothing is kept",
  },
  messages: {
    method: "POST",
    path: "/v1/messages",
    dialect: "anthropic",
    isLimited: true,
    summary: "answers to a conversation, in the form of Anthropic's API",
  },
  countTokens: {
    method: "POST",
    path: "/v1/messages/count_tokens",
    dialect: "anthropic",
    summary: "tokens of such a conversation",
  },
  embeddings: {
    method: "POST",
    path: "/v1/embeddings",
    isLimited: true,
    summary: "vectors of texts, of an embedding model",
  },
  score: {
    method: "POST",
    path: "/score",
    isLimited: true,
    summary: "how alike texts are, by an embedding model",
  },
  scoreV1: { method: "POST", path: "/v1/score", isLimited: true, summary: "the same" },
  rerank: {
    method: "POST",
    path: "/rerank",
    isLimited: true,
    summary: "documents by how alike they are to a query, by an embedding model",
  },
  rerankV1: { method: "POST", path: "/v1/rerank", isLimited: true, summary: "the same" },
  rerankV2: { method: "POST", path: "/v2/rerank", isLimited: true, summary: "the same" },
  models: { method: "GET", path: "/v1/models", summary: "what is served" },
  model: { method: "GET", path: "/v1/models/:id{.+}", summary: "one of them" },
  tokenize: { method: "POST", path: "/tokenize", summary: "tokens of a text or a conversation" },
  detokenize: { method: "POST", path: "/detokenize", summary: "the text of tokens" },
  tokenizerInfo: {
    method: "GET",
    path: "/tokenizer_info",
    summary: "what a client needs to know of the tokenizer",
  },
  health: {
    method: "GET",
    path: "/health",
    isOpen: true,
    summary: "whether requests are taken and the engines make progress",
  },
  ready: { method: "GET", path: "/ready", isOpen: true, summary: "whether requests are taken" },
  live: { method: "GET", path: "/live", isOpen: true, summary: "whether the engines make progress" },
  version: { method: "GET", path: "/version", scope: "metrics", summary: "of the program" },
  load: { method: "GET", path: "/load", scope: "metrics", summary: "how many requests are being answered" },
  openApi: { method: "GET", path: "/openapi.json", scope: "metrics", summary: "this API for programs" },
  docs: { method: "GET", path: "/docs", scope: "metrics", summary: "this API for people" },
  metrics: { method: "GET", path: "/metrics", scope: "metrics", summary: "for Prometheus" },
  loadAdapter: {
    method: "POST",
    path: "/v1/load_lora_adapter",
    scope: "admin",
    summary: "serves a LoRA adapter under a name of its own",
  },
  unloadAdapter: {
    method: "POST",
    path: "/v1/unload_lora_adapter",
    scope: "admin",
    summary: "serves it no more",
  },
  loadModel: {
    method: "POST",
    path: "/models/load",
    scope: "admin",
    summary: "loads a model, also one that was not served before",
  },
  unloadModel: {
    method: "POST",
    path: "/models/unload",
    scope: "admin",
    summary: "frees what a model takes until it is asked again",
  },
  sleep: {
    method: "POST",
    path: "/sleep",
    scope: "admin",
    summary: "frees what the models take until they are woken",
  },
  wakeUp: { method: "POST", path: "/wake_up", scope: "admin", summary: "loads them again" },
  isSleeping: { method: "GET", path: "/is_sleeping", scope: "metrics", summary: "whether they sleep" },
  resetPrefixCache: {
    method: "POST",
    path: "/reset_prefix_cache",
    isDev: true,
    scope: "admin",
    summary: "forgets what the prefix cache holds",
  },
  steps: {
    method: "GET",
    path: "/debug/steps",
    isDev: true,
    scope: "admin",
    summary: "the newest steps of the engines",
  },
  requests: {
    method: "GET",
    path: "/debug/requests",
    isDev: true,
    scope: "admin",
    summary: "the lives of the requests that ended last",
  },
} as const satisfies Readonly<Record<string, Route>>;

/** Method and path of every usual route, such as `GET /v1/models/{id}`. */
export const endpoints: readonly string[] = Object.values<Route>(routes)
  .filter(({ isDev }) => isDev !== true)
  .map(({ method, path }) => `${method} ${shownPath(path)}`);

/** `/v1/models/:id{.+}` → `/v1/models/{id}`. */
export function shownPath(path: string): string {
  return path.replace(/:(\w+)\{.*/, "{$1}");
}
