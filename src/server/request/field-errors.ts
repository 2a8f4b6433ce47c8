import { MillraceError } from "../../base/errors.ts";
import { shorten } from "../served-model.ts";

/**
 * The error of one field that holds what it must not: names the field, the value and what is allowed.
 *
 * @param param path of the field, such as `messages[2].content`
 * @param seen its value; undefined = it is missing
 * @param allowed completes "it must be …"
 */
export function invalidField(param: string, seen: unknown, allowed: string): MillraceError {
  return new MillraceError(
    "invalid_request",
    `The field ${param} is ${seenText(seen)}; it must be ${allowed}. ${adviceFor(param, seen)}`,
    { param },
  );
}

/** Fields without a default. */
const required =
  /^(prompt|messages|input|tokens|text_1|text_2|query|documents|lora_name|lora_path|structured_outputs\.\w+)\b/;

function adviceFor(param: string, seen: unknown): string {
  if (seen === undefined) return "Add it.";
  return required.test(param) ? "Correct it." : "Correct it, or leave it out for its default.";
}

/** Errors: `invalid_request` when `isAllowed` is false. */
export function demand(isAllowed: boolean, param: string, seen: unknown, allowed: string): void {
  if (!isAllowed) throw invalidField(param, seen, allowed);
}

/** A field that must hold a text. Errors: `invalid_request` naming it by its place. */
export function textField(holder: Readonly<Record<string, unknown>>, name: string, place: string): string {
  const value = holder[name];
  if (typeof value !== "string") throw invalidField(`${place}.${name}`, value, "a text");
  return value;
}

/** `["messages", 0, "role"]` → `messages[0].role`. */
export function fieldPath(path: readonly PropertyKey[]): string {
  let text = "";
  for (const key of path) {
    if (typeof key === "number") text += `[${key}]`;
    else text += `${text === "" ? "" : "."}${shorten(String(key))}`;
  }
  return text;
}

function seenText(value: unknown): string {
  if (value === undefined) return "missing";
  // Reading it has rounded it, so that its digits may be others than were sent.
  if (Number.isInteger(value) && !Number.isSafeInteger(value))
    return `about ${Number(value).toExponential(3)}`;
  // JSON has no infinity, but 1e999 reads as one.
  return shorten(typeof value === "number" ? String(value) : JSON.stringify(value));
}
