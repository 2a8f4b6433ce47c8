import { MillraceError } from "../base/errors.ts";
import { nearestName } from "../base/nearest-name.ts";
import { type Component, defaultText, type Field, flagName, isRepeatable, isSwitch } from "./component.ts";

/** What a configuration file sets, by the names of flags without dashes, in the form that flags have. */
export type FileValues = Readonly<Record<string, unknown>>;

/**
 * Checks what a YAML file says against the settings that a command has: keys are names of flags, with `-` or `_`. Errors:
 * `invalid_option` for a file that is no mapping, a key that no flag has (with the nearest one) and a value of the wrong kind.
 *
 * @param forLineAlone flags of the command that no file sets
 */
export function readConfig(
  name: string,
  document: unknown,
  components: readonly Component[],
  forLineAlone: readonly Component[] = [],
): FileValues {
  if (document === null || document === undefined) return {};
  const fields = fieldsByKey(components);
  const forLine = fieldsByKey(forLineAlone);
  if (typeof document !== "object" || Array.isArray(document)) {
    const examples = [...fields].map(([key, setting]) => [key, defaultText(setting)] as const);
    const [key, value] = examples.find(([, text]) => text !== undefined) ?? ["name", "value"];
    throw wrong(`The file ${name} holds no settings by name. Write lines such as ${key}: ${value}.`);
  }
  const values: Record<string, unknown> = {};
  for (const [given, value] of Object.entries(document)) {
    const key = given.replaceAll("_", "-");
    const setting = fields.get(key);
    if (forLine.has(key)) {
      throw wrong(
        `The file ${name} sets ${JSON.stringify(given)}, which a file does not take. Give --${key} on the command line instead.`,
      );
    }
    if (setting === undefined) throw unknownKey(name, given, [...fields.keys()]);
    if (value === null) continue;
    values[key] = flagValue(name, key, setting, value);
  }
  return values;
}

/** Fields by the names of their flags without dashes. */
function fieldsByKey(components: readonly Component[]): ReadonlyMap<string, Field> {
  const fields = components.flatMap((component) => Object.values(component));
  return new Map(fields.map((setting) => [flagName(setting.flag).slice(2), setting]));
}

/** A value of YAML as a flag would give it. */
function flagValue(name: string, key: string, setting: Field, value: unknown): unknown {
  if (isSwitch(setting)) {
    if (typeof value === "boolean") return value;
    throw wrong(`In ${name}, ${key} is ${JSON.stringify(value)}; it takes true or false. Correct it.`);
  }
  if (typeof value === "object" && !Array.isArray(value)) return JSON.stringify(value);
  const list = Array.isArray(value) ? (value as unknown[]) : [value];
  if (
    !list.every((item) => typeof item === "string" || typeof item === "number" || typeof item === "boolean")
  ) {
    throw wrong(
      `In ${name}, ${key} is ${JSON.stringify(value)}; it takes what ${setting.flag} takes. Correct it.`,
    );
  }
  const texts = list.map((item) => (item === true ? "on" : item === false ? "off" : String(item)));
  return isRepeatable(setting) ? texts : texts.join(",");
}

function unknownKey(name: string, given: string, known: readonly string[]): MillraceError {
  const nearest = nearestName(given, known);
  const meant = nearest === undefined ? "" : ` The nearest is ${nearest}.`;
  return wrong(
    `The file ${name} sets ${JSON.stringify(given)}, which is no flag here.${meant} See --help for all.`,
  );
}

function wrong(message: string): MillraceError {
  return new MillraceError("invalid_option", message, { param: "--config" });
}
