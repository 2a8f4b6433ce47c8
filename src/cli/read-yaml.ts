import { MillraceError, messageOf } from "../base/errors.ts";
import { readText } from "./read-text.ts";

/**
 * What a YAML file says. The library's picture of the line at fault is left out: in the middle of a sentence it is none, and
 * the line may hold a key. Errors: `file_not_found`, `invalid_option`.
 *
 * @param param the flag that named the file
 */
export async function readYaml(file: string, param: string): Promise<unknown> {
  const text = readText(file);
  // Few commands are given such a file: what reads it is loaded for those alone.
  const { parse } = await import("yaml");
  try {
    return parse(text);
  } catch (error) {
    const [reason] = messageOf(error).split(/:?\n/);
    throw new MillraceError("invalid_option", `The file ${file} is no YAML: ${reason}. Correct it.`, {
      param,
    });
  }
}
