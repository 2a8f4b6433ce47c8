import { MillraceError } from "./base/errors.ts";
import { optionByFlag } from "./load-options.ts";
import { optionByField } from "./request-options.ts";

/**
 * The engine speaks of options in the names of the command line, and of a request's fields in those of the wire. Who
 * embeds it knows both by their names in code, so an error says those.
 */
export function inOptionNames(error: unknown): unknown {
  if (!(error instanceof MillraceError)) return error;
  const { cause, retryAfterSeconds } = error;
  const message = renamed(error.message);
  const param = error.param === undefined ? undefined : renamed(error.param);
  if (message === error.message && param === error.param) return error;
  return new MillraceError(error.code, message, {
    ...(param === undefined ? {} : { param }),
    ...(cause === undefined ? {} : { cause }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });
}

function renamed(text: string): string {
  return text.replaceAll(
    /--[a-z][a-z-]*|\b[a-z]+(?:_[a-z]+)+\b/g,
    (name) => optionByFlag.get(name) ?? optionByField.get(name) ?? name,
  );
}
