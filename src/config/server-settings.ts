import { z } from "zod";
import { type Component, field } from "./component.ts";
import {
  bytes,
  integer,
  jsonObject,
  namedPath,
  oneOf,
  originList,
  real,
  textListOrJson,
} from "./value-schemas.ts";

const notEmpty = "it takes a text that is not empty";

/** Who may use the server, and how much of it. */
export const accessSettings = {
  apiKey: field(
    "--api-key <key>",
    z.array(z.string().min(1, notEmpty)).default([]),
    "key that clients must send as a bearer token; may be repeated; needed beyond loopback",
    { env: "MILLRACE_API_KEY" },
  ),
  apiKeysFile: field(
    "--api-keys-file <file>",
    z.string().optional(),
    "YAML file of further keys, each with scopes, limits, priority, tenant and salt",
  ),
  insecure: field("--insecure", z.boolean().default(false), "listen beyond loopback without a key"),
  metricsAuth: field(
    "--metrics-auth <on|off|auto>",
    oneOf(["on", "off", "auto"]).default("auto"),
    "whether GET /metrics, /load and /version want a key with the scope metrics; auto: beyond loopback they do",
  ),
  maxRequestsPerMinute: field(
    "--max-requests-per-minute <n>",
    integer(1).optional(),
    "most requests of all clients together; more are refused with 429 (default: no cap)",
  ),
  maxTokensPerMinute: field(
    "--max-tokens-per-minute <n>",
    integer(1).optional(),
    "most tokens of all prompts and answers together; more are refused with 429 (default: no cap)",
  ),
  maxConcurrency: field(
    "--max-concurrency <n>",
    integer(1).optional(),
    "most requests that are being answered at once; more are refused with 429 (default: no cap)",
  ),
  allowedOrigins: field(
    "--allowed-origins <list>",
    originList.optional(),
    "origins whose pages may call, as a JSON list or with commas; loopback = those of this machine, * = all (default: " +
      "loopback, with keys *)",
  ),
  allowedHosts: field(
    "--allowed-hosts <list>",
    textListOrJson.optional(),
    "names besides localhost by which a server without keys may be called, as behind a proxy; * = any",
  ),
  allowedMethods: field(
    "--allowed-methods <list>",
    textListOrJson.prefault("*"),
    "methods that such pages may use",
  ),
  allowedHeaders: field(
    "--allowed-headers <list>",
    textListOrJson.prefault("*"),
    "headers that such pages may send",
  ),
  allowCredentials: field(
    "--allow-credentials",
    z.boolean().default(false),
    "let such pages send cookies and the like",
  ),
  sslCertfile: field(
    "--ssl-certfile <file>",
    z.string().optional(),
    "certificate chain in PEM: serve over TLS; needs --ssl-keyfile",
  ),
  sslKeyfile: field("--ssl-keyfile <file>", z.string().optional(), "private key of the certificate, in PEM"),
  sslCaCerts: field(
    "--ssl-ca-certs <file>",
    z.string().optional(),
    "authorities in PEM; clients must then show a certificate of theirs",
  ),
} satisfies Component;

export const serverSettings = {
  host: field("--host <address>", z.string().default("127.0.0.1"), "address to listen on"),
  port: field("--port <n>", integer(0, 65535).default(8000), "port; 0 takes a free one and prints it"),
  servedModelName: field(
    "--served-model-name <name>",
    z.array(z.string().min(1, notEmpty)).default([]),
    "name in the API; may be repeated, the first one is shown in answers (default: the file's or folder's name; of " +
      "models/pebble/model it is pebble)",
  ),
  models: field(
    "--models <name=path...>",
    z.array(namedPath).default([]),
    "further models to serve, each a path or a hub id, with an engine of its own under the same flags; the flags that name " +
      "files are the first model's",
  ),
  maxModelMemory: field(
    "--max-model-memory <size>",
    bytes.optional(),
    "memory of all engines together; the one without requests that was asked longest ago gives way to one that is asked, " +
      "and comes back when it is asked itself (default: no budget, all stay loaded)",
  ),
  generationConfig: field(
    "--generation-config <mode>",
    oneOf(["auto", "none"]).default("auto"),
    "auto applies the model's own sampling defaults where a request names none",
  ),
  overrideGenerationConfig: field(
    "--override-generation-config <json>",
    jsonObject.optional(),
    'sampling defaults in place of the model\'s own, such as {"temperature": 0.5}',
  ),
  defaultChatTemplateKwargs: field(
    "--default-chat-template-kwargs <json>",
    jsonObject.optional(),
    'variables of the chat template that requests may set otherwise, such as {"enable_thinking": false}',
  ),
  toolCallParser: field(
    "--tool-call-parser <name>",
    oneOf(["auto", "none", "hermes", "llama3_json", "mistral", "granite", "gemma"]).default("auto"),
    "how the model writes calls of tools; auto takes it from the chat template",
  ),
  reasoningParser: field(
    "--reasoning-parser <name>",
    oneOf(["auto", "none", "think", "mistral"]).default("auto"),
    "how the model marks its reasoning; auto takes it from the chat template",
  ),
  strict: field(
    "--strict",
    z.boolean().default(false),
    "refuse unknown request fields instead of listing them",
  ),
  maxBodySize: field(
    "--max-body-size <size>",
    bytes.prefault("32MiB"),
    "largest request body; larger ones are refused with 413",
  ),
  clientTimeout: field(
    "--client-timeout <seconds>",
    integer(1, 3600).default(120),
    "time that a client gets to send its whole request, or to take more of its answer; its connection is closed then",
  ),
  devEndpoints: field(
    "--dev-endpoints",
    z.boolean().default(false),
    "add POST /reset_prefix_cache, GET /debug/steps and GET /debug/requests, which concern all clients",
  ),
  shutdownTimeout: field(
    "--shutdown-timeout <seconds>",
    integer(0, 3600).default(30),
    "time that open requests get on SIGTERM; a second signal ends them at once",
  ),
  restart: field(
    "--restart",
    z.boolean().default(false),
    "run under a small parent that starts the server again after a crash, with growing pauses",
  ),
} satisfies Component;

export const logSettings = {
  logLevel: field(
    "--log-level <level>",
    oneOf(["debug", "info", "warn", "error"]).default("info"),
    "least level to log",
    { env: "MILLRACE_LOG_LEVEL" },
  ),
  logFormat: field(
    "--log-format <form>",
    oneOf(["text", "json"]).default("text"),
    "lines for people, or one JSON object per line",
    { env: "MILLRACE_LOG_FORMAT" },
  ),
  accessLog: field(
    "--access-log",
    z.boolean().default(false),
    "log a line for each request that was answered",
  ),
  enableLogRequests: field(
    "--enable-log-requests",
    z.boolean().default(false),
    "log the prompts of requests; else none of their text is ever logged",
  ),
  maxLogLen: field(
    "--max-log-len <n>",
    integer(1).default(1000),
    "most characters of a prompt that are logged",
  ),
} satisfies Component;

export const samplingSettings = {
  maxTokens: field("--max-tokens <n>", integer(1).default(256), "most tokens to generate"),
  temperature: field("--temperature <x>", real(0, 2).default(0), "0 = greedy"),
  topP: field("--top-p <x>", real(0.001, 1).default(1), "keep the smallest set of this probability"),
  topK: field("--top-k <n>", integer(0).default(0), "keep the n most likely tokens; 0 = all"),
  seed: field(
    "--seed <n>",
    z.coerce.string().regex(/^\d+$/, "it takes a whole number").optional(),
    "makes a sampled answer repeatable",
  ),
  stop: field("--stop <text>", z.array(z.string()).default([]), "end before this text; may be repeated"),
  ignoreEos: field("--ignore-eos", z.boolean().default(false), "go on after the model's end token"),
} satisfies Component;
