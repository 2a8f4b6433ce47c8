import type { z } from "zod";
import { MillraceError } from "../base/errors.ts";
import { completionSchema } from "../server/request/schemas.ts";
import type { GenerationDefaults } from "../server/served-model.ts";

/** Fields of generation_config.json that servers read. */
const fields: Readonly<Record<string, keyof GenerationDefaults>> = {
  temperature: "temperature",
  top_p: "topP",
  top_k: "topK",
  min_p: "minP",
  repetition_penalty: "repetitionPenalty",
};

/**
 * Sampling values where a request names none: the model's own, and those that the operator sets in their place. Errors:
 * `invalid_option` for a value of the operator's that a request could not have.
 *
 * @param config the model's generation_config.json
 */
export function generationDefaultsOf(
  config: Readonly<Record<string, unknown>>,
  override: Readonly<Record<string, unknown>>,
): GenerationDefaults {
  for (const [name, value] of Object.entries(override)) checkOverride(name, value);
  // Without do_sample the file asks for greedy decoding in transformers, but servers sample: only its values are taken.
  const all = { ...config, ...override };
  const entries = Object.entries(fields).flatMap(([key, name]): [string, number][] => {
    const value = all[key];
    return typeof value === "number" && Number.isFinite(value) ? [[name, value]] : [];
  });
  return Object.fromEntries(entries);
}

function checkOverride(name: string, value: unknown): void {
  const param = "--override-generation-config";
  if (!Object.hasOwn(fields, name)) {
    const known = Object.keys(fields).join(", ");
    throw new MillraceError("invalid_option", `${param} sets ${name}; it may set ${known}. Leave it out.`, {
      param,
    });
  }
  const schema = completionSchema.shape[name as "temperature"] as z.ZodType;
  const parsed = schema.safeParse(value);
  if (parsed.success && typeof value === "number") return;
  const allowed = parsed.error?.issues[0]?.message ?? "a number";
  const seen = JSON.stringify(value);
  throw new MillraceError("invalid_option", `${param} sets ${name} to ${seen}; it must be ${allowed}.`, {
    param,
  });
}
