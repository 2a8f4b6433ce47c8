import type { z } from "zod";
import { MillraceError } from "../../base/errors.ts";
import { neutralValues } from "./schemas.ts";

export interface ReadBody<T> {
  readonly body: T;
  /** Fields that this server does not know; they had no effect. */
  readonly unknownFields: readonly string[];
}

/**
 * Checks a request body. Unknown fields are listed, or refused when `isStrict`; a known field that is not supported is
 * refused unless its value makes no difference. Errors: `malformed_json`, `invalid_request`.
 */
export function readBody<S extends z.ZodObject>(text: string, schema: S, isStrict: boolean): ReadBody<z.infer<S>> {
  const json = parseJson(text);
  const parsed = schema.safeParse(json);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    const place = issue.path.map(String).join(".") || "the body";
    throw new MillraceError("invalid_request", `${place}: ${issue.message}.`, { param: place });
  }
  const unknownFields: string[] = [];
  for (const [key, value] of Object.entries(json as Record<string, unknown>)) {
    if (key in schema.shape) continue;
    if (!Object.hasOwn(neutralValues, key)) unknownFields.push(key);
    else refuseUnlessNeutral(key, value);
  }
  if (isStrict && unknownFields.length > 0) {
    throw new MillraceError(
      "invalid_request",
      `Unknown fields: ${unknownFields.join(", ")}. This server was started with --strict; leave them out.`,
      { param: unknownFields[0]! },
    );
  }
  return { body: parsed.data, unknownFields };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new MillraceError("malformed_json", `The body is not JSON: ${(error as Error).message}.`, { cause: error });
  }
}

function refuseUnlessNeutral(key: string, value: unknown): void {
  if (value === null || value === undefined) return;
  if (Array.isArray(value) && value.length === 0) return;
  const neutral = neutralValues[key]!;
  if (neutral.some((allowed) => JSON.stringify(allowed) === JSON.stringify(value))) return;
  const hint = neutral.length === 0 ? "" : ` or set it to ${neutral.map((allowed) => JSON.stringify(allowed)).join(" or ")}`;
  const seen = JSON.stringify(value).slice(0, 80);
  throw new MillraceError(
    "invalid_request",
    `${key} = ${seen} is not supported by this version. Leave the field out${hint}.`,
    { param: key },
  );
}
