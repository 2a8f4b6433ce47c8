import { MillraceError } from "../base/errors.ts";
import { isJsonObject } from "./json-file.ts";

/** Checked access to the keys of a model's configuration. A key that is null counts as absent. */
export class ConfigReader {
  readonly file: string;
  readonly #json: Readonly<Record<string, unknown>>;

  /** @param file named in errors */
  constructor(json: Readonly<Record<string, unknown>>, file: string) {
    this.file = file;
    this.#json = json;
  }

  /** Throws `invalid_model_file`: what the key holds, and what is allowed. */
  fail(key: string, allowed: string): never {
    throw new MillraceError(
      "invalid_model_file",
      `${this.file} has ${key} = ${shown(this.#json[key])}; it must be ${allowed}. Correct it or fetch the file again.`,
    );
  }

  /** Throws `unsupported_format` for a value that a model may have and that is not built here. */
  refuse(key: string, supported: string): never {
    throw new MillraceError(
      "unsupported_format",
      `${this.file} has ${key} = ${shown(this.#json[key])}; models with ${supported} run here. Use another model of the family.`,
    );
  }

  value(key: string): unknown {
    return this.#json[key] ?? undefined;
  }

  count(key: string, max: number): number {
    return this.optionalCount(key, max) ?? this.fail(key, `a whole number from 1 to ${max}`);
  }

  optionalCount(key: string, max: number): number | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isInteger(value) && value >= 1 && value <= max) return value;
    return this.fail(key, `a whole number from 1 to ${max}`);
  }

  positive(key: string, fallback: number): number {
    return this.optionalPositive(key) ?? fallback;
  }

  optionalPositive(key: string): number | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isFinite(value) && value > 0) return value;
    return this.fail(key, "a number above 0");
  }

  flag(key: string): boolean | undefined {
    const value = this.value(key);
    if (value === undefined || typeof value === "boolean") return value;
    return this.fail(key, "true or false");
  }

  text(key: string): string | undefined {
    const value = this.value(key);
    if (value === undefined || typeof value === "string") return value;
    return this.fail(key, "a string");
  }

  object(key: string): Readonly<Record<string, unknown>> | undefined {
    const value = this.value(key);
    if (value === undefined || isJsonObject(value)) return value;
    return this.fail(key, "an object or null");
  }

  /** A list of `length` entries of which each passes `isEntry`. */
  list<T>(key: string, length: number, isEntry: (entry: unknown) => entry is T): readonly T[] | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    const fits = Array.isArray(value) && value.length === length && value.every(isEntry);
    return fits ? (value as T[]) : this.fail(key, `a list of ${length} entries, one for each layer`);
  }

  /** A token id, a list of them, or none. */
  tokenIds(key: string): number[] {
    const value = this.value(key) ?? [];
    const list: unknown[] = Array.isArray(value) ? value : [value];
    const isId = (id: unknown): id is number => Number.isInteger(id) && (id as number) >= 0;
    return list.every(isId) ? [...new Set(list)] : this.fail(key, "a token id, a list of token ids or null");
  }

  architecture(): string {
    const value = this.#json["architectures"];
    const first: unknown = Array.isArray(value) ? value[0] : undefined;
    return typeof first === "string"
      ? first
      : this.fail("architectures", 'a list such as ["LlamaForCausalLM"]');
  }
}

export function shown(value: unknown): string {
  const text = value === undefined ? "nothing" : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
