import { type Command, Option } from "commander";
import { MillraceError } from "../base/errors.ts";
import {
  type Component,
  choicesOf,
  defaultText,
  type Field,
  flagName,
  isRepeatable,
  resolveComponent,
  type Values,
} from "../config/component.ts";
import { precisionSettings, schedulerSettings, sourceSettings } from "../config/engine-settings.ts";

/**
 * Adds the flags of a component to a command; their texts, choices and defaults come from the component.
 *
 * @param heading what the help page writes above them
 */
export function addSettings(command: Command, component: Component, heading = "Options:"): Command {
  command.optionsGroup(heading);
  for (const setting of Object.values(component)) {
    // A flag with "no-" before its name turns off what its value says is on.
    const isNegated = new Option(setting.flag).negate;
    const standard = isNegated ? undefined : defaultText(setting);
    const choices = choicesOf(setting);
    const notes = [
      ...(choices === undefined ? [] : [`one of: ${choices.join(", ")}`]),
      ...(standard === undefined ? [] : [`default: ${standard}`]),
      ...(setting.env === undefined ? [] : [`env: ${setting.env}`]),
    ];
    const option = new Option(
      setting.flag,
      notes.length === 0 ? setting.help : `${setting.help} (${notes.join("; ")})`,
    );
    if (isRepeatable(setting)) {
      // A variadic flag would swallow the arguments after it.
      option.argParser((text, before: string[] | undefined) => [...(before ?? []), text]);
    } else if (!option.isBoolean() && !isNegated) {
      option.argParser((text, before: string | undefined) => onlyValue(setting, text, before));
    }
    // A flag whose value may be left out turns on what it names.
    if (option.optional) option.preset("on");
    command.addOption(option);
  }
  return command;
}

/** The value of a flag that takes one. Errors: `invalid_option` where it has one already. */
function onlyValue(setting: Field, text: string, before: string | undefined): string {
  if (before === undefined) return text;
  const name = flagName(setting.flag);
  throw new MillraceError(
    "invalid_option",
    `${name} is given twice, as ${JSON.stringify(before)} and ${JSON.stringify(text)}; it takes one value. Leave one out.`,
    { param: name },
  );
}

/** Adds the flags of a command that runs an engine, under the headings that all of them share. */
export function addEngineSettings(
  command: Command,
  parts: { readonly source?: Component; readonly scheduler?: Component } = {},
): void {
  addSettings(command, parts.source ?? sourceSettings, "Tokenizer:");
  addSettings(command, precisionSettings, "Precision and kernels:");
  addSettings(command, parts.scheduler ?? schedulerSettings, "Context, batching and memory:");
}

/** The values of a component from the parsed command line and the environment. */
export function readSettings<C extends Component>(command: Command, component: C): Values<C> {
  return resolveComponent(component, readGiven(command, component), process.env);
}

/** What the command line itself set, under the component's keys. */
export function readGiven(command: Command, component: Component): Record<string, unknown> {
  const options: Record<string, unknown> = command.opts();
  const given: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(component)) {
    const value = options[new Option(setting.flag).attributeName()];
    if (value !== undefined) given[key] = value;
  }
  return given;
}
