import { z } from "zod";
import { type Component, field } from "./component.ts";
import { bytes, integer, oneOf, real } from "./value-schemas.ts";

export const serverSettings = {
  host: field("--host <address>", z.string().default("127.0.0.1"), "address to listen on"),
  port: field("--port <n>", integer(0, 65535).default(8000), "port; 0 takes a free one and prints it"),
  apiKey: field(
    "--api-key <key>",
    z.string().min(1, "it takes a text that is not empty").optional(),
    "key that clients must send as a bearer token; needed beyond loopback",
    { env: "MILLRACE_API_KEY" },
  ),
  insecure: field("--insecure", z.boolean().default(false), "listen beyond loopback without a key"),
  servedModelName: field(
    "--served-model-name <name>",
    z.string().optional(),
    "name in the API (default: the file's or folder's name; of models/pebble/model it is pebble)",
  ),
  generationConfig: field(
    "--generation-config <mode>",
    oneOf(["auto", "none"]).default("auto"),
    "auto applies the model's own sampling defaults where a request names none",
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
  logLevel: field(
    "--log-level <level>",
    oneOf(["debug", "info", "warn", "error"]).default("info"),
    "least level to log",
    { env: "MILLRACE_LOG_LEVEL" },
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
