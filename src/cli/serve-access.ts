import { definedOnly } from "../base/defined-only.ts";
import { MillraceError } from "../base/errors.ts";
import type { Values } from "../config/component.ts";
import type { KeyEntry } from "../config/key-file.ts";
import type { accessSettings } from "../config/server-settings.ts";
import { type ApiKeyOptions, isLoopback } from "../server/access/api-keys.ts";
import type { LimitSettings } from "../server/access/limits.ts";
import { defaultOrigins } from "../server/cross-origin.ts";
import type { TlsOptions } from "../server/http-server.ts";
import type { StartServerOptions } from "../server/start-server.ts";
import { readText } from "./read-text.ts";
import { readYaml } from "./read-yaml.ts";

type AccessOptions = Pick<
  StartServerOptions,
  "apiKeys" | "isInsecure" | "guardsMetrics" | "limits" | "crossOrigin" | "allowedHosts" | "tls"
>;

/**
 * What the server is told of who may use it. Errors: `invalid_option`, `file_not_found`.
 *
 * @param policy of scheduling
 */
export async function accessOptionsOf(
  settings: Values<typeof accessSettings>,
  host: string,
  policy: string,
): Promise<AccessOptions> {
  const { apiKey, apiKeysFile, insecure, metricsAuth } = settings;
  const fromFile = apiKeysFile === undefined ? [] : await readKeyFile(apiKeysFile);
  checkPriorities(fromFile, policy);
  const tls = readTls(settings);
  const apiKeys = [...apiKey, ...fromFile];
  return {
    apiKeys,
    isInsecure: insecure,
    guardsMetrics: metricsAuth === "auto" ? !isLoopback(host) : metricsAuth === "on",
    limits: definedOnly({
      requestsPerMinute: settings.maxRequestsPerMinute,
      tokensPerMinute: settings.maxTokensPerMinute,
      maxConcurrency: settings.maxConcurrency,
    }),
    crossOrigin: {
      origins: settings.allowedOrigins ?? defaultOrigins(apiKeys.length > 0),
      methods: settings.allowedMethods,
      headers: settings.allowedHeaders,
      allowsCredentials: settings.allowCredentials,
    },
    allowedHosts: settings.allowedHosts ?? [],
    ...(tls === undefined ? {} : { tls }),
  };
}

/** The engine would refuse every request of a key whose priority it does not read. */
function checkPriorities(keys: readonly ApiKeyOptions[], policy: string): void {
  const first = policy === "priority" ? undefined : keys.find(({ priority = 0 }) => priority !== 0);
  if (first === undefined) return;
  throw new MillraceError(
    "invalid_option",
    `The key ${first.name} has priority ${first.priority}, but --scheduling-policy ${policy} reads none. ` +
      "Give --scheduling-policy priority, or leave the priority out.",
    { param: "--api-keys-file" },
  );
}

async function readKeyFile(file: string): Promise<ApiKeyOptions[]> {
  const document = await readYaml(file, "--api-keys-file");
  const { readKeys } = await import("../config/key-file.ts");
  return readKeys(file, document).map(keyOptionsOf);
}

function keyOptionsOf(entry: KeyEntry): ApiKeyOptions {
  const limits: LimitSettings = definedOnly({
    requestsPerSecond: entry["requests-per-second"],
    requestsPerMinute: entry["requests-per-minute"],
    tokensPerSecond: entry["tokens-per-second"],
    tokensPerMinute: entry["tokens-per-minute"],
    maxConcurrency: entry["max-concurrency"],
  });
  const { name, key, sha256, scopes, priority, tenant } = entry;
  const cacheSalt = entry["cache-salt"];
  return { name, limits, ...definedOnly({ key, sha256, scopes, priority, tenant, cacheSalt }) };
}

function readTls(settings: Values<typeof accessSettings>): TlsOptions | undefined {
  const { sslCertfile, sslKeyfile, sslCaCerts } = settings;
  if (sslCertfile === undefined && sslKeyfile === undefined && sslCaCerts === undefined) return undefined;
  if (sslCertfile === undefined || sslKeyfile === undefined) {
    const missing = sslCertfile === undefined ? "--ssl-certfile" : "--ssl-keyfile";
    throw new MillraceError(
      "invalid_option",
      `${missing} is missing: TLS takes --ssl-certfile and --ssl-keyfile together. Add it, or leave out all --ssl flags.`,
      { param: missing },
    );
  }
  const clientAuthorities = sslCaCerts === undefined ? {} : { clientAuthorities: readText(sslCaCerts) };
  return { cert: readText(sslCertfile), key: readText(sslKeyfile), ...clientAuthorities };
}
