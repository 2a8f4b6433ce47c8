import { type Definition, type Entry, invalidTask } from "./definition.ts";

/** Keys of a task file that are read, those that must hold one value, and those without effect here. */
const readKeys =
  "task task_alias output_type dataset_path dataset_name dataset_kwargs training_split validation_split test_split fewshot_split fewshot_config num_fewshot doc_to_text doc_to_target doc_to_choice description target_delimiter fewshot_delimiter gen_prefix generation_kwargs repeats metric_list filter_list metadata".split(
    " ",
  );
const fixedKeys: Readonly<Record<string, unknown>> = {
  unsafe_code: false,
  should_decontaminate: false,
  use_prompt: null,
  process_docs: null,
  process_results: null,
  doc_to_image: null,
  doc_to_audio: null,
  custom_dataset: null,
};
const idleKeys = ["tag", "doc_to_decontamination_query"];

/** The keys of a task's definition, read with their kind checked. */
export class TaskKeys {
  readonly definition: Definition;

  /** Throws `invalid_task` by name and line for a key that is not known, or whose value would change the meaning. */
  constructor(definition: Definition) {
    this.definition = definition;
    for (const [key, { value, where }] of definition.entries) {
      if (readKeys.includes(key) || idleKeys.includes(key)) continue;
      if (!Object.hasOwn(fixedKeys, key)) {
        throw invalidTask(
          where,
          `has the key "${key}", which is not known`,
          `It takes ${readKeys.join(", ")}`,
        );
      }
      if (value === fixedKeys[key] || value === null) continue;
      throw invalidTask(
        where,
        `sets ${key} to ${JSON.stringify(value)}, and only ${JSON.stringify(fixedKeys[key])} can be done here`,
        "Leave the key out, or write the task as a JavaScript or TypeScript module",
      );
    }
  }

  /** The value, or undefined where the key is missing or null. */
  entry(key: string): Entry | undefined {
    const found = this.definition.entries.get(key);
    return found === undefined || found.value === null ? undefined : found;
  }

  text(key: string): string | undefined {
    const found = this.entry(key);
    if (found === undefined || typeof found.value === "string") return found?.value as string | undefined;
    throw this.wrong(key, "a text");
  }

  /** Throws `invalid_task` where the key is missing. */
  neededText(key: string): string {
    const value = this.text(key);
    if (value !== undefined) return value;
    throw invalidTask(this.definition.file, `has no ${key}`, `A task of its kind needs ${key}`);
  }

  count(key: string): number | undefined {
    const found = this.entry(key);
    if (found === undefined) return undefined;
    if (Number.isInteger(found.value) && (found.value as number) >= 0) return found.value as number;
    throw this.wrong(key, "a whole number from 0");
  }

  object(key: string): Readonly<Record<string, unknown>> | undefined {
    const found = this.entry(key);
    if (found === undefined || isObject(found.value))
      return found?.value as Record<string, unknown> | undefined;
    throw this.wrong(key, "a map of keys");
  }

  /** The maps of a list. */
  objects(key: string): readonly Readonly<Record<string, unknown>>[] | undefined {
    const found = this.entry(key);
    if (found === undefined) return undefined;
    if (Array.isArray(found.value) && found.value.every(isObject))
      return found.value as Record<string, unknown>[];
    throw this.wrong(key, "a list of maps");
  }

  /** Where a key stands, or the file. */
  whereIs(key: string): string {
    return this.definition.entries.get(key)?.where ?? this.definition.file;
  }

  wrong(key: string, allowed: string): Error {
    const seen = JSON.stringify(this.entry(key)?.value) ?? "nothing";
    return invalidTask(this.whereIs(key), `sets ${key} to ${seen.slice(0, 80)}`, `It takes ${allowed}`);
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
