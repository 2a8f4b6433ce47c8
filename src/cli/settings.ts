import { type Command, Option } from "commander";
import { type Component, defaultText, resolveComponent, type Values } from "../config/component.ts";

/** Adds the flags of a component to a command; their texts and defaults come from the component. */
export function addSettings(command: Command, component: Component): Command {
  for (const setting of Object.values(component)) {
    const standard = defaultText(setting);
    const notes = [
      ...(standard === undefined ? [] : [`default: ${standard}`]),
      ...(setting.env === undefined ? [] : [`env: ${setting.env}`]),
    ];
    command.addOption(
      new Option(setting.flag, notes.length === 0 ? setting.help : `${setting.help} (${notes.join(", ")})`),
    );
  }
  return command;
}

/** The values of a component from the parsed command line and the environment. */
export function readSettings<C extends Component>(command: Command, component: C): Values<C> {
  const options: Record<string, unknown> = command.opts();
  const given: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(component)) {
    given[key] = options[new Option(setting.flag).attributeName()];
  }
  return resolveComponent(component, given, process.env);
}
