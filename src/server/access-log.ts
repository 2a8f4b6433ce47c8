import { type HttpContext, nodeResponse } from "./http-context.ts";
import type { ServerContext } from "./server-context.ts";

/**
 * One line per request once its answer is over, streams included: who asked what, how it ended and how long it took.
 * Bodies are never in it.
 *
 * @param status of an answer that does not go to a socket
 */
export function logAccess(
  c: HttpContext,
  context: ServerContext,
  startedAt: number,
  status: () => number,
): void {
  const outgoing = nodeResponse(c);
  const write = (): void => {
    const isCut = outgoing !== undefined && !outgoing.writableFinished;
    context.logger.info("Request answered.", {
      requestId: c.get("headers")["x-request-id"],
      method: c.req.method,
      path: c.req.path,
      status: outgoing?.headersSent === true ? outgoing.statusCode : status(),
      ms: Math.round(context.clock.now() - startedAt),
      ...(c.get("caller")?.name ? { key: c.get("caller")?.name } : {}),
      ...(isCut ? { cut: true } : {}),
    });
  };
  if (outgoing === undefined || outgoing.closed) write();
  else outgoing.once("close", write);
}
