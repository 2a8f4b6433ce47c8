import type { RequestScheduling } from "../../protocol/engine-client.ts";
import type { HttpContext } from "../http-context.ts";
import type { SamplingBody } from "./schemas.ts";

/** Names the tenant, whatever the body says: a proxy that knows who asks can set it. */
export const tenantHeader = "x-tenant";

/**
 * How a request stands beside others: vLLM's `priority` and `cache_salt`, and our `deadline_ms` and `tenant`. The tenant
 * is the header's, else the body's, else OpenAI's `user`. The engine checks the values.
 *
 * @param arrivalMs when the request came, in milliseconds since 1970: all its parts have one deadline
 */
export function readScheduling(body: SamplingBody, c: HttpContext, arrivalMs: number): RequestScheduling {
  const { priority, deadline_ms: deadlineMs, cache_salt: cacheSalt } = body;
  const tenant = c.req.header(tenantHeader) ?? body.tenant ?? body.user;
  return {
    arrivalMs,
    ...(isGiven(priority) ? { priority } : {}),
    ...(isGiven(tenant) ? { tenant } : {}),
    ...(isGiven(deadlineMs) ? { deadlineMs } : {}),
    ...(isGiven(cacheSalt) ? { cacheSalt } : {}),
  };
}

function isGiven<T>(value: T | null | undefined): value is T {
  return value !== null && value !== undefined;
}
