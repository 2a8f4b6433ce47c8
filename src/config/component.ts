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

/** Where values may come from; each is keyed in its own way. */
export interface Sources {
  /** What the command line set, by the component's keys. */
  readonly given: Readonly<Record<string, unknown>>;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Begins the variable that every setting then has beside its own: `MILLRACE_` makes `MILLRACE_MAX_NUM_SEQS`. */
  readonly variablePrefix?: string;
  /** What a configuration file set, by the names of flags without dashes; its name for messages. */
  readonly file?: { readonly name: string; readonly values: Readonly<Record<string, unknown>> } | undefined;
}

/** A value before it is read, and where it stood. */
interface Found {
  readonly value: unknown;
  /** For messages and `config explain`: a variable's or a file's name; empty for a flag. */
  readonly source: string;
}

/** Looks for a setting: flag, then environment, then file; undefined where it is in none of them. */
export function findValue(key: string, setting: Field, sources: Sources): Found | undefined {
  const { given, environment, variablePrefix, file } = sources;
  if (given[key] !== undefined) return { value: given[key], source: "" };
  const prefixed = variablePrefix === undefined ? undefined : variableName(variablePrefix, setting);
  for (const source of [setting.env, prefixed]) {
    const text = source === undefined ? undefined : environment[source];
    if (text === undefined) continue;
    if (isSwitch(setting)) return { value: switchValue(text), source: source! };
    return { value: isRepeatable(setting) ? [text] : text, source: source! };
  }
  const inFile = file?.values[flagName(setting.flag).slice(2)];
  return inFile === undefined ? undefined : { value: inFile, source: file!.name };
}

/** `--max-num-seqs <n>` → `MILLRACE_MAX_NUM_SEQS`. */
export function variableName(prefix: string, { flag }: Field): string {
  return prefix + flagName(flag).slice(2).replaceAll("-", "_").toUpperCase();
}

/** As `resolveSources`, from a command line and the environment alone. */
export function resolveComponent<C extends Component>(
  component: C,
  given: Sources["given"],
  environment: Sources["environment"],
): Values<C> {
  return resolveSources(component, { given, environment });
}

/** Resolves a component's values: flag, then environment, then file, then default. Errors: `invalid_option`. */
export function resolveSources<C extends Component>(component: C, sources: Sources): Values<C> {
  const values: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(component)) {
    const found = findValue(key, setting, sources);
    // Where a schema has no words of its own for what it takes, the flag's notation says it.
    const parsed = setting.schema.safeParse(found?.value, {
      error: () => `it takes the form ${setting.flag}`,
    });
    if (!parsed.success) {
      const name = flagName(setting.flag);
      const source = found === undefined || found.source === "" ? "" : ` (from ${found.source})`;
      const seen = found === undefined ? "missing" : `${JSON.stringify(found.value)}${source}`;
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
  const schema = innerSchema(setting);
  return schema instanceof z.ZodEnum ? schema.options.map(String) : undefined;
}

/** Whether a flag may be repeated; its value is then the list of what was given. */
export function isRepeatable(setting: Field): boolean {
  return innerSchema(setting) instanceof z.ZodArray;
}

/** Whether a flag takes no value. */
export function isSwitch(setting: Field): boolean {
  return innerSchema(setting) instanceof z.ZodBoolean;
}

/** What a value is before it is read. */
function innerSchema({ schema }: Field): z.ZodType {
  let inner = schema;
  for (;;) {
    if (inner instanceof z.ZodPipe) inner = inner.in as z.ZodType;
    else if (
      inner instanceof z.ZodDefault ||
      inner instanceof z.ZodOptional ||
      inner instanceof z.ZodPrefault
    )
      inner = inner.unwrap() as z.ZodType;
    else return inner;
  }
}

/** What a variable says of a switch; anything else is left for its schema to refuse. */
function switchValue(text: string): unknown {
  return { "1": true, true: true, "0": false, false: false }[text] ?? text;
}

/** The default of a field as text for the help page, as a user would write it; undefined where there is none. */
export function defaultText(setting: Field): string | undefined {
  // Nothing, written as "", is no default that a reader can use.
  if (setting.schema instanceof z.ZodPrefault) return String(setting.schema.def.defaultValue) || undefined;
  const parsed = setting.schema.safeParse(undefined);
  if (!parsed.success || parsed.data === undefined || parsed.data === null || parsed.data === false)
    return undefined;
  if (Array.isArray(parsed.data) && parsed.data.length === 0) return undefined;
  if (Array.isArray(parsed.data)) return parsed.data.join(",");
  return typeof parsed.data === "string" ? parsed.data : JSON.stringify(parsed.data);
}
