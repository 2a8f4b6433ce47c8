import { z } from "zod";
import { isMillraceError, MillraceError } from "../../base/errors.ts";
import { type HttpContext, jsonResponse } from "../http-context.ts";
import { readBody } from "../request/request-body.ts";
import type { ServerContext } from "../server-context.ts";
import type { ModelPool, PooledModel } from "./model-pool.ts";

const nameText = "a name of 1 to 256 characters";
const model = z.string(nameText).min(1, nameText).max(256, nameText);

export const loadModelSchema = z.object({
  model,
  path: z.string("the path of a folder or a GGUF file on the server's machine").min(1).nullish(),
});

export const unloadModelSchema = z.object({ model });

/** `POST /models/load`, as llama.cpp's router has it; with a path, a model that the server did not know. */
export async function handleLoadModel(c: HttpContext, context: ServerContext): Promise<Response> {
  const { model: name, path } = await readBody(c, context, loadModelSchema);
  const pool = poolOf(context);
  if (path === null || path === undefined) {
    await memberOf(pool, context, name).client.load();
    return jsonResponse(c, { success: true });
  }
  if (pool.has(name) || context.registry().has(name)) throw taken(name);
  context.addModel(await pool.open(name, path).catch(refuseMissing));
  return jsonResponse(c, { success: true });
}

/** `POST /models/unload`: after its open requests; the next one for it loads it again. */
export async function handleUnloadModel(c: HttpContext, context: ServerContext): Promise<Response> {
  const { model: name } = await readBody(c, context, unloadModelSchema);
  await memberOf(poolOf(context), context, name).client.unload();
  return jsonResponse(c, { success: true });
}

/** `POST /sleep`, as vLLM has it: frees what the engines take. `?model=` for one of several; `?mode=abort`, the default, or `wait`. */
export async function handleSleep(c: HttpContext, context: ServerContext): Promise<Response> {
  const mode = c.req.query("mode") ?? "abort";
  if (mode !== "abort" && mode !== "wait") {
    throw new MillraceError("invalid_request", `mode is ${JSON.stringify(mode)}; it must be abort or wait.`, {
      param: "mode",
    });
  }
  await Promise.all(chosen(c, context).map(({ client }) => client.sleep(mode)));
  return jsonResponse(c, { status: "ok" });
}

/** `POST /wake_up`. Without `?model=` it is for those that sleep: loading what only gave way would put others away. */
export async function handleWakeUp(c: HttpContext, context: ServerContext): Promise<Response> {
  const isNamed = c.req.query("model") !== undefined;
  const woken = chosen(c, context).filter(({ client }) => isNamed || client.state === "asleep");
  for (const { client } of woken) await client.load();
  return jsonResponse(c, { status: "ok" });
}

/** `GET /is_sleeping`: of several models, whether all do. */
export function handleIsSleeping(c: HttpContext, context: ServerContext): Response {
  const isSleeping =
    context.pool !== null && chosen(c, context).every(({ client }) => client.state === "asleep");
  return jsonResponse(c, { is_sleeping: isSleeping });
}

/** Those that `?model=` names, or all. */
function chosen(c: HttpContext, context: ServerContext): readonly PooledModel[] {
  const pool = poolOf(context);
  const name = c.req.query("model");
  return name === undefined ? [...pool.members] : [memberOf(pool, context, name)];
}

/** Errors: `server_not_ready`; `invalid_request` for a server whose engines are somebody else's. */
function poolOf(context: ServerContext): ModelPool {
  context.registry();
  if (context.pool !== null) return context.pool;
  throw new MillraceError(
    "invalid_request",
    "This server's engines cannot be put away. Start it by `millrace serve`.",
  );
}

/** By any of its names. Errors: `model_not_found`. */
function memberOf(pool: ModelPool, context: ServerContext, name: string): PooledModel {
  const { id, parent } = context.registry().resolve(name);
  const member = pool.find(parent ?? id);
  if (member !== undefined) return member;
  throw new MillraceError("model_not_found", `The model \`${name}\` has no engine of its own.`, {
    param: "model",
  });
}

/** A path that leads nowhere is a fault of who sent it. */
function refuseMissing(error: unknown): never {
  if (!isMillraceError(error) || error.code !== "file_not_found") throw error;
  throw new MillraceError("invalid_request", error.message, { param: "path", cause: error });
}

function taken(name: string): MillraceError {
  return new MillraceError(
    "model_exists",
    `The name \`${name}\` is that of a model or adapter of this server. Choose another, or leave path out to load it again.`,
    { param: "model" },
  );
}
