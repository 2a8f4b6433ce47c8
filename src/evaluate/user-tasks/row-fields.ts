import { badRow, isTexts, type Row } from "../row-reader.ts";
import type { Definition } from "./definition.ts";
import { parsePythonList, pythonStr } from "./python-literal.ts";
import { isObject, type TaskKeys } from "./task-keys.ts";
import { RowTemplate } from "./template.ts";

/** What a row says: a field as it stands in the file, or what a template makes of the row. */
interface FieldValue {
  readonly value: unknown;
  /** lm-eval reads a number or a list out of a template's text, never out of a field's. */
  readonly isRendered: boolean;
}
type FieldReader = (row: Row, where: string) => FieldValue;

/** The parts of a question, read from a row as lm-eval reads them. */
export interface RowFields {
  /** A text, or the index of the context where the choices are contexts. */
  readonly text: (row: Row, where: string) => string | number;
  /** An index among the choices, a text, or a list of texts of which each is right. */
  readonly target: (row: Row, where: string) => number | string | readonly unknown[];
  /** Null where the task has none. */
  readonly choices: ((row: Row, where: string) => readonly string[]) | null;
  /** What the row makes of the parts around it that are templates or names of fields. */
  readonly around: (
    row: Row,
    where: string,
  ) => { readonly description?: string; readonly genPrefix?: string };
}

/** Readers of the three fields; those that `overrides` names take the place of the task's own. */
export function readRowFields(keys: TaskKeys, overrides: Readonly<Record<string, unknown>> = {}): RowFields {
  const valueOf = (key: string): unknown => overrides[key] ?? keys.entry(key)?.value;
  const choiceValue = valueOf("doc_to_choice");
  const hasChoices = choiceValue !== undefined;
  const description = partReader(valueOf("description"), "description", keys);
  const genPrefix = partReader(valueOf("gen_prefix"), "gen_prefix", keys);
  const text = fieldReader(valueOf("doc_to_text") ?? "", keys.whereIs("doc_to_text"), keys.definition);
  const target = fieldReader(valueOf("doc_to_target") ?? "", keys.whereIs("doc_to_target"), keys.definition);
  return {
    text: (row, where) => {
      const { value, isRendered } = text(row, where);
      if (hasChoices && isIndex(value, isRendered)) return Number(value);
      if (typeof value === "string") return value;
      throw badRow(where, `gives ${JSON.stringify(value)} as doc_to_text`, "a text");
    },
    target: (row, where) => readTarget(target(row, where), hasChoices, where),
    choices: hasChoices ? choiceReader(choiceValue, keys) : null,
    around: (row, where) => ({
      ...(description === null ? {} : { description: description(row, where) }),
      ...(genPrefix === null ? {} : { genPrefix: genPrefix(row, where) }),
    }),
  };
}

function partReader(
  value: unknown,
  key: string,
  keys: TaskKeys,
): ((row: Row, where: string) => string) | null {
  if (value === undefined || value === null) return null;
  if (typeof value !== "string") throw keys.wrong(key, "a text, a field or a template");
  const read = fieldReader(value, keys.whereIs(key), keys.definition);
  return (row, where) => pythonStr(read(row, where).value);
}

function readTarget(
  { value, isRendered }: FieldValue,
  hasChoices: boolean,
  where: string,
): number | string | readonly unknown[] {
  if (hasChoices && isIndex(value, isRendered)) return Number(value);
  if (typeof value === "string") return (isRendered ? parsePythonList(value) : undefined) ?? value;
  if (Array.isArray(value)) return value as unknown[];
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  throw badRow(
    where,
    `gives ${JSON.stringify(value)} as doc_to_target`,
    "a text, a number or a list of texts",
  );
}

function choiceReader(value: unknown, keys: TaskKeys): NonNullable<RowFields["choices"]> {
  if (isTexts(value)) return () => value;
  if (isObject(value)) {
    const texts = Object.values(value);
    if (isTexts(texts)) return () => texts;
  }
  if (typeof value !== "string")
    throw keys.wrong("doc_to_choice", "a list of texts, a field or a template of one");
  const read = fieldReader(value, keys.whereIs("doc_to_choice"), keys.definition);
  return (row, where) => {
    const { value: choices } = read(row, where);
    const list = typeof choices === "string" ? parsePythonList(choices) : choices;
    if (isTexts(list) && list.length > 0) return list;
    throw badRow(where, `gives ${JSON.stringify(choices)} as doc_to_choice`, "a list of texts");
  };
}

/** A field of the row where the value is the name of one, else a template. */
function fieldReader(value: unknown, where: string, { file }: Definition): FieldReader {
  if (typeof value !== "string") return () => ({ value, isRendered: false });
  const template = new RowTemplate(value, where === "" ? file : where);
  return (row, place) =>
    Object.hasOwn(row, value)
      ? { value: row[value], isRendered: false }
      : { value: template.value(row, place), isRendered: true };
}

function isIndex(value: unknown, isRendered: boolean): boolean {
  return Number.isInteger(value) || (isRendered && typeof value === "string" && /^\d+$/.test(value));
}
