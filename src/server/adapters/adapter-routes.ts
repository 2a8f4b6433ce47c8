import { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { type HttpContext, jsonResponse } from "../http-context.ts";
import { readBody } from "../request/request-body.ts";
import type { ServedModel } from "../served-model.ts";
import type { ServerContext } from "../server-context.ts";
import { adapterModel } from "./adapter-model.ts";

const nameText = "a name of 1 to 256 characters";
const name = z.string(nameText).min(1, nameText).max(256, nameText);
const pathText = "the path of a folder on the server's machine";

export const loadAdapterSchema = z.object({
  lora_name: name,
  lora_path: z.string(pathText).min(1, pathText),
  base_model_name: z.string("the name of a model").nullish(),
});

export const unloadAdapterSchema = z.object({ lora_name: name });

/** `POST /v1/load_lora_adapter`, as vLLM has it: from then on the adapter is a model by its name. */
export async function handleLoadAdapter(c: HttpContext, context: ServerContext): Promise<Response> {
  const body = await readBody(c, context, loadAdapterSchema);
  const base = hostOf(context, body.base_model_name);
  refuseTaken(context, body.lora_name);
  const info = await base.client.adapters!.load({ name: body.lora_name, path: body.lora_path });
  try {
    // Another model's adapter may have got the name meanwhile.
    refuseTaken(context, body.lora_name);
    context.addModel(adapterModel(base, body.lora_name));
  } catch (error) {
    await base.client.adapters!.unload(body.lora_name);
    throw error;
  }
  context.logger.info(`Loaded the adapter ${body.lora_name} of ${base.id}`, { rank: info.rank });
  return jsonResponse(c, {
    status: "ok",
    id: body.lora_name,
    parent: base.id,
    rank: info.rank,
    size_bytes: info.sizeBytes,
  });
}

/** `POST /v1/unload_lora_adapter`: requests that are open are finished. */
export async function handleUnloadAdapter(c: HttpContext, context: ServerContext): Promise<Response> {
  const { lora_name: id } = await readBody(c, context, unloadAdapterSchema);
  const { models } = context.registry();
  const parent = models.find((model) => model.id === id)?.parent;
  const base = models.find((model) => model.id === parent);
  if (base === undefined) throw notLoaded(id, models);
  context.removeModel(id);
  await base.client.adapters!.unload(id);
  context.logger.info(`Unloaded the adapter ${id} of ${base.id}`);
  return jsonResponse(c, { status: "ok", id });
}

/** The named model, or the first that takes adapters. Errors: `model_not_found`, `invalid_request`. */
function hostOf(context: ServerContext, named: string | null | undefined): ServedModel {
  const registry = context.registry();
  const isNamed = named !== null && named !== undefined;
  const base = isNamed
    ? registry.resolve(named)
    : registry.models.find(({ client }) => client.adapters !== null);
  if (base !== undefined && base.client.adapters !== null) return base;
  const host = registry.models.find(({ client }) => client.adapters !== null)?.id;
  const advice =
    host === undefined ? "Start it with --enable-lora." : `Of this server's models, \`${host}\` does.`;
  throw new MillraceError(
    "invalid_request",
    `${isNamed ? `The model \`${base!.id}\`` : "This server"} takes no adapters. ${advice}`,
    isNamed ? { param: "base_model_name" } : {},
  );
}

/** Before anything is read: the name may be a model's, of which the engine knows nothing. */
function refuseTaken(context: ServerContext, id: string): void {
  if (!context.registry().has(id)) return;
  throw new MillraceError(
    "adapter_exists",
    `The name \`${id}\` is that of a model or adapter of this server. Choose another, or unload that adapter first.`,
    { param: "lora_name" },
  );
}

function notLoaded(id: string, models: readonly ServedModel[]): MillraceError {
  const loaded = models.filter(({ parent }) => parent !== undefined).map((model) => `\`${model.id}\``);
  return new MillraceError(
    "adapter_not_found",
    `The adapter \`${id}\` is not loaded; loaded are ${loaded.join(", ") || "none"}. Use one of these names.`,
    { param: "lora_name" },
  );
}
