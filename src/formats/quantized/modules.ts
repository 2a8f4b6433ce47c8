import { MillraceError } from "../../base/errors.ts";

/** A list of module names of `quantization_config`; absent or null is none. Throws `invalid_model_file`. */
export function moduleList(value: unknown): readonly string[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value) && value.every((item) => typeof item === "string")) return value;
  throw new MillraceError(
    "invalid_model_file",
    `quantization_config has modules_to_not_convert = ${JSON.stringify(value).slice(0, 80)}; it must be a list of module names. Correct config.json or fetch it again.`,
  );
}

/** Whether a module is listed by its name or a part of it, as transformers compares them. */
export function isExcluded(module: string, excluded: readonly string[]): boolean {
  return excluded.some((name) => module === name || `.${module}.`.includes(`.${name}.`));
}

/** A text of `quantization_config`; what is no text is shown as JSON. */
export function textOf(value: unknown, standard: string): string {
  if (value === undefined || value === null) return standard;
  return typeof value === "string" ? value : JSON.stringify(value);
}
