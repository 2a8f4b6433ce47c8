import { isAnthropic, modelInfo, modelPage } from "../anthropic/models.ts";
import { type HttpContext, jsonResponse } from "../http-context.ts";
import { PooledClient } from "../pool/pooled-client.ts";
import { namesOf, type ServedModel } from "../served-model.ts";
import type { ServerContext } from "../server-context.ts";

/** `GET /v1/models`: one card per name, in Anthropic's form for clients that name a version of its API. */
export function handleModels(c: HttpContext, context: ServerContext): Response {
  if (isAnthropic(c)) return jsonResponse(c, modelPage(context.registry().models));
  const cards = context
    .registry()
    .models.flatMap((model) => namesOf(model).map((name) => modelCard(name, model)));
  return jsonResponse(c, { object: "list", data: cards });
}

/** `GET /v1/models/{id}`; the id may hold slashes. */
export function handleModel(c: HttpContext, context: ServerContext): Response {
  const name = c.req.param("id") ?? "";
  const cardOf = isAnthropic(c) ? modelInfo : modelCard;
  return jsonResponse(c, cardOf(name, context.registry().resolve(name)));
}

function modelCard(name: string, model: ServedModel): Record<string, unknown> {
  return {
    id: name,
    object: "model",
    created: model.created,
    owned_by: "millrace",
    root: model.id,
    parent: model.parent ?? null,
    max_model_len: model.client.info.maxModelLen,
    permission: [],
    ...(model.client instanceof PooledClient ? { status: { value: model.client.state } } : {}),
  };
}
