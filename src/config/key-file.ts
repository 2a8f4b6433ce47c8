import { z } from "zod";
import { MillraceError } from "../base/errors.ts";

const limit = z
  .number("a whole number of at least 1")
  .int("a whole number of at least 1")
  .min(1, "a whole number of at least 1");
const name = z
  .string("a text")
  .min(1, "a text that is not empty")
  .max(256, "a text of at most 256 characters");

const keySchema = z
  .strictObject({
    name,
    key: z.string("a text").min(8, "a text of at least 8 characters").optional(),
    sha256: z
      .string("64 hexadecimal digits")
      .regex(/^[0-9a-f]{64}$/i, "64 hexadecimal digits")
      .optional(),
    scopes: z
      .array(z.enum(["inference", "metrics", "admin"], "inference, metrics or admin"), "a list of scopes")
      .min(1, "a list of scopes")
      .optional(),
    "requests-per-second": limit.optional(),
    "requests-per-minute": limit.optional(),
    "tokens-per-second": limit.optional(),
    "tokens-per-minute": limit.optional(),
    "max-concurrency": limit.optional(),
    priority: z.number("a whole number").int("a whole number").optional(),
    tenant: name.optional(),
    "cache-salt": name.optional(),
  })
  .refine(
    ({ key, sha256 }) => (key === undefined) !== (sha256 === undefined),
    "an entry with either key or sha256",
  );

const fileSchema = z.strictObject({
  keys: z.array(keySchema, "a list of keys").min(1, "a list of at least one key"),
});

export type KeyEntry = z.output<typeof keySchema>;

/**
 * The keys of a YAML file that was parsed. Errors: `invalid_option` naming the place and what is allowed there, but never a
 * key.
 */
export function readKeys(file: string, document: unknown): readonly KeyEntry[] {
  const parsed = fileSchema.safeParse(document);
  if (!parsed.success) {
    const { path, message, code } = parsed.error.issues[0]!;
    const place = path.length === 0 ? "the file" : path.join(".");
    const unknown =
      code === "unrecognized_keys" ? "an entry without fields that are not known here" : message;
    throw wrong(`In ${file}, ${place} must be ${unknown}. Correct it.`);
  }
  const { keys } = parsed.data;
  const names = keys.map((entry) => entry.name);
  const twice = names.find((given, at) => names.indexOf(given) !== at);
  if (twice !== undefined) throw wrong(`In ${file}, two keys are named ${twice}. Give each its own name.`);
  return keys;
}

function wrong(message: string): MillraceError {
  return new MillraceError("invalid_option", message, { param: "--api-keys-file" });
}
