import { createHash } from "node:crypto";
import type { RequestScheduling } from "../../protocol/engine-client.ts";
import type { HttpContext } from "../http-context.ts";
import type { SamplingBody } from "./schemas.ts";

/** Names the tenant, whatever the body says: a proxy that knows who asks can set it. */
export const tenantHeader = "x-tenant";

/**
 * How a request stands beside others: vLLM's `priority` and `cache_salt`, and our `deadline_ms` and `tenant`. The tenant
 * is the key's, else the header's, else the body's, else OpenAI's `user`; a key's priority cannot be bettered, and its
 * salt comes before the body's. The engine checks the values.
 *
 * @param arrivalMs when the request came, in milliseconds since 1970: all its parts have one deadline
 */
export function readScheduling(body: SamplingBody, c: HttpContext, arrivalMs: number): RequestScheduling {
  const { deadline_ms: deadlineMs } = body;
  const caller = c.get("caller");
  const priority = priorityOf(caller?.priority, body.priority);
  const cacheSalt = saltOf(caller?.cacheSalt, body.cache_salt);
  const tenant = caller?.tenant ?? c.req.header(tenantHeader) ?? body.tenant ?? body.user;
  return {
    arrivalMs,
    ...(isGiven(priority) ? { priority } : {}),
    ...(isGiven(tenant) ? { tenant } : {}),
    ...(isGiven(deadlineMs) ? { deadlineMs } : {}),
    ...(isGiven(cacheSalt) ? { cacheSalt } : {}),
  };
}

function priorityOf(best: number | undefined, asked: number | null | undefined): number | undefined {
  if (best === undefined) return asked ?? undefined;
  return Math.max(best, asked ?? best);
}

/** Two salts become one that nobody else can name. */
function saltOf(own: string | undefined, asked: string | null | undefined): string | undefined {
  if (own === undefined || !isGiven(asked)) return own ?? asked ?? undefined;
  return createHash("sha256")
    .update(JSON.stringify([own, asked]))
    .digest("hex");
}

function isGiven<T>(value: T | null | undefined): value is T {
  return value !== null && value !== undefined;
}
