import { type HttpContext, jsonResponse } from "./http-context.ts";
import type { ServedModel } from "./served-model.ts";
import type { ServerContext } from "./server-context.ts";
import { snakeCased } from "./snake-case.ts";

/** `POST /reset_prefix_cache`, as vLLM has it: all models forget what their prefix caches hold. */
export function handleResetPrefixCache(c: HttpContext, context: ServerContext): Response {
  for (const { model } of context.entries) model.client.resetPrefixCache();
  return jsonResponse(c, { status: "ok" });
}

/** `GET /debug/steps`: the newest steps of each model, oldest first, with the ids of the requests in them. */
export function handleSteps(c: HttpContext, context: ServerContext): Promise<Response> {
  return ofEachModel(c, context, async ({ client }) => ({ steps: await client.recentSteps() }));
}

/** `GET /debug/requests`: the lives of the requests that ended last, oldest first, of each model. */
export function handleRequests(c: HttpContext, context: ServerContext): Promise<Response> {
  return ofEachModel(c, context, async ({ client }) => ({ requests: await client.recentRequests() }));
}

async function ofEachModel(
  c: HttpContext,
  context: ServerContext,
  read: (model: ServedModel) => Promise<object>,
): Promise<Response> {
  const data = await Promise.all(
    context.entries.map(async ({ model }) => ({ model: model.id, ...(await read(model)) })),
  );
  return jsonResponse(c, snakeCased({ data }));
}
