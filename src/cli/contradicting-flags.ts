import type { Command } from "commander";
import { MillraceError } from "../base/errors.ts";
import { type Component, flagName } from "../config/component.ts";
import { readGiven } from "./settings.ts";

/**
 * Refuses flags that would have no effect: their writer thinks that they have. Only the command line counts, not the
 * environment, which is set for many commands. Throws `invalid_option`.
 *
 * @param component the flags that have none
 * @param why completes "FLAG has no effect: ", with what to do
 */
export function refuseIdleFlags(command: Command, component: Component, why: string): void {
  const [key] = Object.keys(readGiven(command, component));
  if (key === undefined) return;
  const flag = flagName(component[key]!.flag);
  throw new MillraceError("invalid_option", `${flag} has no effect: ${why}`, { param: flag });
}

/** Levels of one name would overwrite each other's files. Throws `invalid_option`. */
export function refuseRepeats(flag: string, values: readonly number[]): void {
  const twice = values.find((value, index) => values.indexOf(value) !== index);
  if (twice === undefined) return;
  const text = twice === Number.POSITIVE_INFINITY ? "inf" : String(twice);
  throw new MillraceError("invalid_option", `${flag} names ${text} twice. Give every load once.`, {
    param: flag,
  });
}
