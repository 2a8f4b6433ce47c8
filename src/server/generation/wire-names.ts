import { isMillraceError, MillraceError } from "../../base/errors.ts";

/** Fields of the request inside by the names that they have on the wire, where these are others. */
export type WireNames = Readonly<Record<string, string>>;

/** An error that names the field as the client knows it. */
export function withWireName(error: unknown, names: WireNames): unknown {
  if (!isMillraceError(error) || error.param === undefined) return error;
  const inner = Object.keys(names).find((name) => isWithin(error.param!, name));
  if (inner === undefined) return error;
  const rename = (text: string): string => text.replaceAll(inner, names[inner]!);
  const { retryAfterSeconds } = error;
  return new MillraceError(error.code, rename(error.message), {
    param: rename(error.param),
    cause: error,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });
}

/** Whether a path such as `tools[0].function` is a field or lies in it. */
function isWithin(path: string, field: string): boolean {
  return path === field || path.startsWith(`${field}.`) || path.startsWith(`${field}[`);
}
