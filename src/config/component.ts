import { z } from "zod";
import { MillraceError } from "../base/errors.ts";

/** One setting: the only source of its type, flag, environment variable, default and help. */
export interface Field<S extends z.ZodType = z.ZodType> {
  /** commander's notation: "--max-num-seqs <n>", "--insecure". */
  readonly flag: string;
  readonly schema: S;
  readonly help: string;
  readonly env?: string;
}

export type Component = Readonly<Record<string, Field>>;
export type Values<C extends Component> = { readonly [K in keyof C]: z.output<C[K]["schema"]> };

export function field<S extends z.ZodType>(
  flag: string,
  schema: S,
  help: string,
  more: { readonly env?: string } = {},
): Field<S> {
  return { flag, schema, help, ...more };
}

/** The long name of a flag: "--max-num-seqs <n>" → "--max-num-seqs". */
export function flagName(flag: string): string {
  return /--[a-z0-9-]+/.exec(flag)?.[0] ?? flag;
}

/**
 * Resolves a component's values: flag, then environment, then default. `given` holds what the command line set,
 * under the component's keys.
 */
export function resolveComponent<C extends Component>(
  component: C,
  given: Readonly<Record<string, unknown>>,
  environment: Readonly<Record<string, string | undefined>>,
): Values<C> {
  const values: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(component)) {
    const fromEnvironment = setting.env === undefined ? undefined : environment[setting.env];
    const value = given[key] ?? fromEnvironment;
    // Where a schema has no words of its own for what it takes, the flag's notation says it.
    const parsed = setting.schema.safeParse(value, { error: () => `it takes the form ${setting.flag}` });
    if (!parsed.success) {
      const name = flagName(setting.flag);
      const source =
        given[key] === undefined && fromEnvironment !== undefined ? ` (from ${setting.env})` : "";
      const seen = value === undefined ? "missing" : `${JSON.stringify(value)}${source}`;
      // Several rules of one schema may have the same words.
      const problems = [...new Set(parsed.error.issues.map((issue) => issue.message))].join("; ");
      throw new MillraceError("invalid_option", `${name} is ${seen}: ${problems}. See --help.`, {
        param: name,
      });
    }
    values[key] = parsed.data;
  }
  return Object.freeze(values) as Values<C>;
}

/** The values of a field that takes one of a few; undefined for other fields. */
export function choicesOf(setting: Field): readonly string[] | undefined {
  let { schema } = setting;
  while (schema instanceof z.ZodDefault || schema instanceof z.ZodOptional) {
    schema = schema.unwrap() as z.ZodType;
  }
  return schema instanceof z.ZodEnum ? schema.options.map(String) : undefined;
}

/** Whether a flag may be repeated; its value is then the list of what was given. */
export function isRepeatable({ schema }: Field): boolean {
  return schema instanceof z.ZodDefault && schema.unwrap() instanceof z.ZodArray;
}

/** The default of a field as text for the help page, as a user would write it; undefined where there is none. */
export function defaultText(setting: Field): string | undefined {
  if (setting.schema instanceof z.ZodPrefault) return String(setting.schema.def.defaultValue);
  const parsed = setting.schema.safeParse(undefined);
  if (!parsed.success || parsed.data === undefined || parsed.data === null || parsed.data === false)
    return undefined;
  if (Array.isArray(parsed.data) && parsed.data.length === 0) return undefined;
  if (Array.isArray(parsed.data)) return parsed.data.join(",");
  return typeof parsed.data === "string" ? parsed.data : JSON.stringify(parsed.data);
}
