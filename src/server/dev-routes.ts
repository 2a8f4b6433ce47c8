import { type HttpContext, jsonResponse } from "./http-context.ts";
import type { ServerContext } from "./server-context.ts";

/** `POST /reset_prefix_cache`, as vLLM has it: all models forget what their prefix caches hold. */
export function handleResetPrefixCache(c: HttpContext, context: ServerContext): Response {
  for (const model of context.registry().models) model.client.resetPrefixCache();
  return jsonResponse(c, { status: "ok" });
}

/** `GET /debug/steps`: the newest steps of each model, oldest first, with the ids of the requests in them. */
export async function handleSteps(c: HttpContext, context: ServerContext): Promise<Response> {
  const { models } = context.registry();
  const data = await Promise.all(
    models.map(async ({ id, client }) => ({ model: id, steps: await client.recentSteps() })),
  );
  return jsonResponse(c, { data });
}
