import type { z } from "zod";
import { type HttpContext, readJsonObject } from "../http-context.ts";
import type { ServerContext } from "../server-context.ts";
import { fieldPath, invalidField } from "./field-errors.ts";
import { checkFields, type FieldSupport, noteIgnored, openAiFields } from "./field-support.ts";

/** A schema of an object; its keys are the fields that an endpoint knows. */
export type BodySchema<B> = z.ZodType<B> & { readonly shape: Readonly<Record<string, unknown>> };

/**
 * Reads a request's body in its schema's type; fields without effect go to the warnings header.
 * Errors: `request_too_large`, `malformed_json`, `invalid_request` naming the first field at fault.
 */
export async function readBody<B>(
  c: HttpContext,
  context: ServerContext,
  schema: BodySchema<B>,
  support: FieldSupport = openAiFields,
): Promise<B> {
  const raw = await readJsonObject(c, context.maxBodyBytes);
  noteIgnored(c, ...checkFields(raw, schema.shape, context.isStrict, support));
  const parsed = schema.safeParse(raw);
  if (parsed.success) return parsed.data;
  const { path, message } = parsed.error.issues[0]!;
  throw invalidField(fieldPath(path), valueAt(raw, path), message);
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  let value = body;
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}
